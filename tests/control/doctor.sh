#!/bin/bash
# zkserver doctor: each thing that can be wrong is named, with what to do, and what is well is not blamed.
# usage: tests/control/doctor.sh; ZKSERVER names another binary
. "$(dirname "${BASH_SOURCE[0]}")/../clients/lib.sh"
zkserver=${ZKSERVER:-$repo/target/release/zkserver}
unset ZOOCFGDIR ZOOCFG ZOOBINDIR ZOO_LOG_DIR ZOO_LOG_FILE ZOOPIDFILE SERVER_JVMFLAGS JVMFLAGS NOTIFY_SOCKET
java=
end_all() {
  [ -z "$java" ] || kill "$java" 2>/dev/null
  [ -z "$server_pid" ] || kill "$server_pid" 2>/dev/null
  rm -rf "$work"
}
trap end_all EXIT

# config LINE...: three servers on this machine, of which this is the first, unless the lines say otherwise.
config() {
  rm -rf "$work/data"; mkdir -p "$work/data"; echo 1 >"$work/data/myid"
  port=$(free_port) quorum=$(free_port) election=$(free_port)
  printf '%s\n' tickTime=2000 initLimit=5 syncLimit=2 "dataDir=$work/data" "clientPort=$port" clientPortAddress=127.0.0.1 \
    "server.1=127.0.0.1:$quorum:$election" server.2=127.0.0.1:1:2 server.3=127.0.0.1:3:4 "$@" >"$work/zoo.cfg"
}
doctor() { "$zkserver" doctor "$work/zoo.cfg" >"$work/out" 2>"$work/err"; code=$?; }
# finds CODE PATTERN...: doctor ends with the code and a line is like each pattern.
finds() {
  local pattern wanted=$1; shift
  doctor; echo "code $code"; cat "$work/out" "$work/err"
  [ $code = "$wanted" ] || return 1
  for pattern in "$@"; do grep -Eq -- "$pattern" "$work/out" || { echo "no line like $pattern"; return 1; }; done
}

config
check "an ensemble whose others do not run yet is no problem" finds 0 '^ok +configuration' '^ok +dataDir .* MB free' \
  "^ok +clientPort $port: free" "^ok +election port $election: free" '^ok +myid: this is server 1 of 3' \
  '^WARNING +server\.2 127.0.0.1: .*election port 2: Connection refused.*start that server' '^ok +io_uring' '^ok +open files' ' 0 problems$'
config tickTime=soon
check "a wrong configuration" finds 1 '^PROBLEM +configuration: .*zoo.cfg:10: tickTime=soon' '^ok +io_uring'
config; rm "$work/data/myid"
check "no myid" finds 1 '^PROBLEM +configuration: .*myid'
config; echo 7 >"$work/data/myid"
check "a number nobody has" finds 1 '^PROBLEM +configuration: .*My id 7 not in the peer list'
config server.2=no-such-host.invalid:1:2
check "a name without an address" finds 1 '^PROBLEM +server\.2: the name no-such-host.invalid has no address here: add it to /etc/hosts'
config server.1=192.0.2.1:1:2
check "a name of this server that is another machine's address" finds 1 \
  '^PROBLEM +server\.1 192.0.2.1: .*no address of this machine' '^PROBLEM +quorum port 1: .*not of this machine'
config server.2=202.0.2.1:1:2 server.2=192.0.2.9:1:2
check "the wrong host mapping: a public address among private ones" finds 1 \
  '^WARNING +server\.2 192.0.2.9: it is 192.0.2.9 here, a public address: .*missing in /etc/hosts' \
  '^PROBLEM +server\.1 127.0.0.1: .*the others cannot reach it on a loopback address'
config server.3=127.0.0.1:1:2
check "two servers in one place" finds 1 '^PROBLEM +server\.3: 127.0.0.1 is 127.0.0.1:2 here, where server\.2 is too'
config datadir.autocreate=false; sed -i "s#^dataDir=.*#dataDir=$work/none#; /^server/d" "$work/zoo.cfg"
check "a data directory that is missing" finds 1 "^PROBLEM +dataDir $work/none: missing"
config; sed -i "s#^dataDir=.*#dataDir=$work/zoo.cfg/data#; /^server/d" "$work/zoo.cfg"
check "one that cannot be made" finds 1 "^PROBLEM +dataDir $work/zoo.cfg/data: missing, and user .* cannot make it in $work/zoo.cfg"

config; sed -i '/^server/d' "$work/zoo.cfg"
"$zkserver" start-foreground "$work/zoo.cfg" >"$work/server.log" 2>&1 & server_pid=$!
until_true 30 serves
check "a server that serves" finds 0 "^ok +this server \(process $server_pid\): it serves; Mode: standalone" '^ok +ensemble: none'
serving=$port
config "clientPort=$serving"; sed -i "/^server/d; s#^dataDir=.*#dataDir=$work/second#" "$work/zoo.cfg"
check "a port that is taken, and by whom" finds 1 "^PROBLEM +clientPort $serving: taken by process $server_pid \(zkserver\)"
config "server.2=127.0.0.1:1:$serving;127.0.0.1:$serving"
check "another server that serves" finds 0 "^ok +server\.2 127.0.0.1: .*election port $serving answers" \
  "^ok +server\.2 at client port 127.0.0.1:$serving: Mode: standalone"
tally
