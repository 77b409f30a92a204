#!/bin/bash
# kazoo's recipes and the parsers of four-letter words: scripts of our own (recipes.py, words.py).
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
start_server
export PORT=$port
run() { "$cache/kazoo/bin/python" -m pytest -q -p no:cacheprovider --timeout 120 "$here/$1"; }
check "recipes: locks, elections, watchers, transactions" run recipes.py
check "four-letter words as their parsers want them" run words.py

# A client that keeps its session and its watch over a restart.
survive() {
  "$cache/kazoo/bin/python" "$here/reconnect.py" "$port" "$work/ready" >"$work/reconnect.log" 2>&1 &
  local client=$!
  until_true 30 test -e "$work/ready" || { cat "$work/reconnect.log"; return 1; }
  stop_server
  launch_server
  wait $client || { cat "$work/reconnect.log"; return 1; }
}
survive_here() { survive; }
if survive_here >"$work/survive.log" 2>&1; then
  passed=$((passed + 1)); echo "ok      a session survives a restart of the server"
else
  failed=$((failed + 1)); echo "FAILED  a session survives a restart of the server"; cat "$work/survive.log"
fi
tally
