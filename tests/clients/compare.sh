#!/bin/bash
# Four-letter words and the Java shell: what ZooKeeper 3.9 says and what we say, after the same story.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
base=$work
SERVER=java39 work=$base/java; mkdir -p "$work"; start_server
java_port=$port java_pid=$server_pid
trap 'kill $java_pid 2>/dev/null; work=$base; stop_server; rm -rf "$base"' EXIT
SERVER=${SUBJECT:-ringkeeper} work=$base/ours; mkdir -p "$work"; start_server
"$cache/kazoo/bin/python" "$here/compare.py" "$java_port" "$port" "$base/java" "$base/ours"
