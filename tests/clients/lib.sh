# Sourced by the scripts of this folder: one server under test, checks, a count of both.
# shellcheck shell=bash
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repo=$(cd "$here/../.." && pwd)
cache=$("$here/../setup" --cache)
work=$(mktemp -d "${TMPDIR:-/tmp}/ringkeeper-clients.XXXXXX")
server_pid=
passed=0 failed=0

# The server: SERVER is ringkeeper, java39, java38 or a command of the same shape.
server_command() {
  case ${SERVER:-ringkeeper} in
    ringkeeper) echo "${ZKSERVER:-$repo/target/release/zkserver} start-foreground" ;;
    java38 | java39) echo "$here/../servers/$SERVER" ;;
    *) echo "$SERVER" ;;
  esac
}

# A port that nobody has, and below those that the kernel gives to whoever asks for any: no client can have it when a
# server comes back to it. None twice: nobody may listen yet on one that was given. It runs in $(...), so a file knows.
free_port() {
  python3 - "$work/ports" <<'PY'
import random, socket, sys
with open(sys.argv[1], "a+") as file:
    file.seek(0)
    given = file.read().split()
    while True:
        port = random.randrange(10000, 32000)
        if str(port) in given:
            continue
        try:
            socket.socket().bind(("127.0.0.1", port))
        except OSError:
            continue
        print(port, file=file)
        print(port)
        break
PY
}

# four_letter WORD: what the server answers.
four_letter() {
  python3 - "$port" "$1" <<'PY'
import socket, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 5)
s.sendall(sys.argv[2].encode())
while chunk := s.recv(65536):
    sys.stdout.write(chunk.decode())
PY
}

# until_true SECONDS COMMAND...: looks until the command succeeds.
until_true() {
  local end=$((SECONDS + $1)); shift
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $end ] || return 1
    sleep 0.05
  done
}

serves() { four_letter srvr 2>/dev/null | grep -q '^Mode: '; }

write_config() {
  mkdir -p "$work/data"
  cat >"$work/zoo.cfg" <<CFG
tickTime=2000
dataDir=$work/data
clientPort=$port
clientPortAddress=127.0.0.1
maxClientCnxns=0
admin.enableServer=false
4lw.commands.whitelist=*
extendedTypesEnabled=true
CFG
}

launch_server() {
  # shellcheck disable=SC2046
  $(server_command) \
    -Dzookeeper.DigestAuthenticationProvider.superDigest=super:D/InIHSb7yEEbrWz8b9l71RjZJU= \
    "$work/zoo.cfg" >>"$work/server.log" 2>&1 &
  server_pid=$!
  until_true 60 serves || { echo "the server did not start:"; tail -30 "$work/server.log"; exit 1; }
}

start_server() {
  port=$(free_port)
  write_config
  launch_server
}

stop_server() {
  [ -n "$server_pid" ] || return 0
  kill "$server_pid" 2>/dev/null
  wait "$server_pid" 2>/dev/null
  server_pid=
}
trap 'stop_server; rm -rf "$work"' EXIT

# check NAME COMMAND...: counts whether the command succeeds.
check() {
  local name=$1; shift
  if "$@" >"$work/check.log" 2>&1; then
    passed=$((passed + 1)); echo "ok      $name"
  else
    failed=$((failed + 1)); echo "FAILED  $name"; sed 's/^/        /' "$work/check.log" | tail -30
  fi
}

tally() {
  [ $failed = 0 ] || { echo "the end of the server's log:"; tail -15 "$work/server.log" | cut -c1-300; }
  echo "$passed passed, $failed failed, 0 skipped"
  [ $failed = 0 ]
}

# kazoo_tests PLUGIN [pytest arguments]: kazoo's own tests, which ship inside its wheel, fitted to our servers by a
# plugin of ours. Says which failed; counts in passed, failed, skipped.
kazoo_tests() {
  local plugin=$1 suite; shift
  suite=$(echo "$cache"/kazoo/lib/python3*/site-packages/kazoo/tests)
  export ZOOKEEPER_VERSION=3.9.5 CI=true
  (cd "$work" && exec "$cache/kazoo/bin/python" -m pytest -p "$plugin" -p no:cacheprovider --timeout 180 -q -rfE \
    "$suite" "$@") >"$work/pytest.log" 2>&1
  grep -aE '^(FAILED|ERROR)' "$work/pytest.log" | cut -c1-250
  passed=$(kazoo_count passed) failed=$(($(kazoo_count failed) + $(kazoo_count error))) skipped=$(kazoo_count skipped)
}
kazoo_count() { grep -aoE "[0-9]+ $1" "$work/pytest.log" | tail -1 | grep -oE '[0-9]+' || echo 0; }
