#!/bin/bash
# All of kazoo's own tests (they ship inside its wheel), each class on a fresh cluster of three of our servers, but
# those of TLS, SASL and dynamic reconfiguration (KAZOO_EVERYTHING=1 has them too).  usage: kazoo_full.sh [pytest arguments]
# SERVER=java39 asks Java instead.  PORT_BASE: five ports for each of five servers from here.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
export RINGKEEPER_SERVER
RINGKEEPER_SERVER=$(server_command)
export PATH=$here/full:$PATH PYTHONPATH=$here/full KAZOO_PORT_BASE=${PORT_BASE:-24100}
export ZOOKEEPER_CLASSPATH=unused RINGKEEPER_SERVER_LOG=$work/server.log TMPDIR=$work/tmp
mkdir -p "$TMPDIR"
kazoo_tests kazoo_clusters "$@"
if [ "$passed" = 0 ] && [ "$failed" = 0 ]; then tail -15 "$work/pytest.log" | cut -c1-250; failed=1; fi
if [ "$failed" != 0 ]; then
  kept=$(mktemp -d /tmp/ringkeeper-kazoo.XXXXXX)
  cp "$work/pytest.log" "$work/server.log" "$kept" 2>/dev/null
  echo "logs are kept in $kept"
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
