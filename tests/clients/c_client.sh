#!/bin/bash
# The C client library (libzookeeper-mt): a program of our own, also over a restart of the server.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
gcc -Wall -Werror -DTHREADED -o "$work/c_client" "$here/c_client.c" -lzookeeper_mt || { echo "0 passed, 1 failed, 0 skipped"; exit 1; }
start_server
check "create, get, watch, multi, delete" timeout 60 "$work/c_client" "127.0.0.1:$port"
timeout 90 "$work/c_client" "127.0.0.1:$port" "$work/ready" >"$work/restart.log" 2>&1 &
client=$!
until_true 30 test -e "$work/ready"
stop_server
launch_server
check "a session and its watch survive a restart" wait $client
[ $failed = 0 ] || cat "$work/restart.log"
tally
