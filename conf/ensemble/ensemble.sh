#!/bin/bash
# Three servers on this machine, with their data in ./data/ensemble.
# usage: conf/ensemble/ensemble.sh {start|stop|restart|status|...} [1|2|3]...; ZKSERVER names the program
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
verb=${1:-}; [ $# = 0 ] || shift
case $verb in start | stop | restart | status | print-cmd | doctor) ;; *) sed -n '3s/^# //p' "$0" >&2; exit 2 ;; esac
[ $# -gt 0 ] || set -- 1 2 3

# The program: the one named, an installed one, or the one built here.
zkserver=${ZKSERVER:-$(command -v zkserver || echo "$here/../../target/release/zkserver")}
if ! [ -x "$zkserver" ]; then
  echo "ensemble.sh: no zkserver in the PATH, nor $zkserver: cargo build --release, or set ZKSERVER" >&2
  exit 1
fi

failed=0
for number in "$@"; do
  config=$here/zoo$number.cfg
  data=$(sed -n 's/^dataDir=//p' "$config") || exit 1
  # A server finds its own number in its data folder.
  if ! [ -s "$data/myid" ]; then mkdir -p "$data" && echo "$number" >"$data/myid" || exit 1; fi
  echo "server $number:"
  "$zkserver" "$verb" "$config" || failed=1
done
exit $failed
