#!/bin/bash
# kazoo's own tests (they ship inside its wheel) against one running server.  Those that start and stop servers,
# or need TLS, SASL or a quorum, are left out; 473 remain.  usage: kazoo_suite.sh [pytest arguments]
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
expected=${KAZOO_EXPECTED:-473}
start_server
export KAZOO_SERVERS=127.0.0.1:$port PYTHONPATH=$here
kazoo_tests kazoo_plugin "$@"
if [ $# = 0 ] && [ "$passed" -lt "$expected" ]; then
  echo "only $passed of $expected tests passed; the end of the run:"; tail -15 "$work/pytest.log" | cut -c1-250
  [ "$failed" -gt 0 ] || failed=1
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
