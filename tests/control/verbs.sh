#!/bin/bash
# The verbs of zkserver: words and exit codes against Debian's zkServer.sh, then what only ours does.
# usage: tests/control/verbs.sh; ZKSERVER names another binary
. "$(dirname "${BASH_SOURCE[0]}")/../clients/lib.sh"
zkserver=${ZKSERVER:-$repo/target/release/zkserver}
unset ZOOCFGDIR ZOOCFG ZOOBINDIR ZOO_LOG_DIR ZOO_LOG_FILE ZOOPIDFILE SERVER_JVMFLAGS JVMFLAGS NOTIFY_SOCKET
pids=()

# Nothing this script started outlives it; only numbers whose command line names our folder are signalled.
end_all() {
  local pid
  for pid in "${pids[@]}" $(cat "$work"/*/zookeeper_server.pid "$work"/*/*.pid 2>/dev/null); do
    grep -qa "$work" "/proc/$pid/cmdline" 2>/dev/null && kill -9 "$pid"
  done
  rm -rf "$work"
}
trap end_all EXIT

# zkServer.sh reads its environment from beside itself: a copy of it with one of ours.
mkdir -p "$work/java/bin" "$work/java/logs"
cp /usr/share/zookeeper/bin/zkServer.sh "$work/java/bin/"
classpath=$(ls /usr/share/java/{zookeeper,zookeeper-jute,slf4j-api,slf4j-simple,snappy-java,metrics-core,commons-cli,commons-io}.jar \
  /usr/share/java/netty-{buffer,codec,common,handler,resolver,transport}.jar \
  /usr/share/java/netty-transport-native-{epoll,unix-common}.jar 2>/dev/null | paste -sd:)
cat >"$work/java/bin/zkEnv.sh" <<ENV
ZOOCFGDIR=$work/nowhere
ZOOCFG=$work/nowhere/zoo.cfg
ZOO_LOG_DIR=$work/java/logs
JMXDISABLE=true
JAVA=java
JVMFLAGS="-Xmx128m -XX:+UseSerialGC -Dzookeeper.admin.enableServer=false"
CLASSPATH=$classpath
ENV

# config FOLDER [LINE...]: a configuration with its own data folder and port, as $cfg and $port.
config() {
  local dir=$work/$1; shift
  mkdir -p "$dir"
  port=$(free_port) cfg=$dir/zoo.cfg
  printf '%s\n' tickTime=2000 "dataDir=$dir" "clientPort=$port" clientPortAddress=127.0.0.1 "$@" >"$cfg"
}

pid_of() { cat "$work/$1/zookeeper_server.pid"; }

# said VERB [ARG...]: its standard output, without what differs from run to run, and its exit code.
said() {
  "${control[@]}" "$@" 2>>"$work/stderr" | sed -e "s#$work/[a-z]*#DIR#g; s/$port/PORT/g; s/process [0-9]*/process N/"
  echo "$1: exit code ${PIPESTATUS[0]}"
}

# is_closed: nobody listens on the port.
is_closed() { ! (: <>"/dev/tcp/127.0.0.1/$port"); }

# One life of a server, as an operator sees it.
transcript() {
  config "$1"
  said status "$cfg"; said stop "$cfg"
  said start "$cfg"; until_true 30 serves || echo "does not serve"
  said start "$cfg"; said status "$cfg"
  said restart "$cfg"; until_true 30 serves || echo "does not serve"
  said status "$cfg"; said stop "$cfg"; said stop "$cfg"
  until_true 30 is_closed || echo "does not stop" # zkServer.sh does not wait for the end
  said status "$cfg"
  sed -i '/^clientPort/d' "$cfg"; echo 1 >"$work/$1/myid"
  said status "$cfg"
  echo "secureClientPort=$port" >>"$cfg"
  said status "$cfg" | grep -v '^ \|^Note:'
}
control=("$work/java/bin/zkServer.sh"); transcript javadata >"$work/java.txt"
control=("$zkserver"); transcript ringdata >"$work/ring.txt"

# Java looks for a port in the server lines too and says so; nothing else may differ.
check "the script's own transcript is a whole life" grep -q '^Mode: standalone$' "$work/java.txt"
check "words and exit codes are zkServer.sh's" \
  diff <(grep -v '^Client port not found in ' "$work/java.txt") "$work/ring.txt"

# ours ARGS...: runs zkserver, its output in $out, its complaints in $err, its code in $code.
ours() { "$zkserver" "$@" >"$work/out" 2>"$work/err"; code=$?; out=$(cat "$work/out") err=$(cat "$work/err"); }
shows() { echo "code $code"; echo "out: $out"; echo "err: $err"; }
# expect CODE OUT-PATTERN ERR-PATTERN
expect() { shows; [ "$code" = "$1" ] && [[ $out =~ $2 ]] && [[ $err =~ $3 ]]; }

# What has ended may wait for its parent to notice.
is_gone() { ! grep -q '^State:.[^ZX]' "/proc/$1/status" 2>/dev/null; }

config life
ours start "$cfg"
check "start says where it logs" expect 0 '^Starting zookeeper ... STARTED$' "Logging to: $work/life/zookeeper-.*-server-.*\.log"
pid=$(pid_of life)
check "the pid file has no line end" test "$(wc -c <"$work/life/zookeeper_server.pid")" = "${#pid}"
check "the server serves as soon as start returns" serves
check "it has a session of its own" test "$(cut -d' ' -f6 "/proc/$pid/stat")" = "$pid"
check "its output is the log, its input nothing" test "$(readlink /proc/"$pid"/fd/[012] | sort -u | paste -sd' ')" = \
  "/dev/null $(echo "$work"/life/*.log)"
rm "$work/life/zookeeper_server.pid"
ours start "$cfg"
check "the lock refuses a second server without any pid file" expect 1 "already running as process $pid\." "kill $pid"
ours stop "$cfg"
check "stop without pid file names who runs" expect 1 'no zookeeper to stop \(could not find file' "kill $pid"
sleep 300 & sleeper=$!; pids+=($sleeper)
for number in 4194303 $sleeper; do
  echo -n $number >"$work/life/zookeeper_server.pid"
  ours stop "$cfg"; check "stop with number $number names who runs" expect 1 'FAILED TO STOP$' "kill $pid"
  ours restart "$cfg"; check "  and so does restart" expect 1 'FAILED TO STOP$' "kill $pid"
  ours start "$cfg"; check "  and so does start" expect 1 "already running as process $pid\." "kill $pid"
  ours status "$cfg"; check "  and status finds it" expect 0 'Mode: standalone' ''
done
check "  and nobody was signalled" kill -0 $sleeper $pid
echo -n "$pid" >"$work/life/zookeeper_server.pid"
ours stop "$cfg"
check "stop returns when the process is gone" is_gone "$pid"

# Stale and recycled numbers.
echo -n 4194303 >"$work/life/zookeeper_server.pid"
ours stop "$cfg"; check "stop notices a stale pid file" expect 0 STOPPED 'is stale: its process is gone'
echo -n $sleeper >"$work/life/zookeeper_server.pid"
ours stop "$cfg"; check "a recycled number is left alone" expect 0 STOPPED "process $sleeper is another one now"
check "  and lives" kill -0 $sleeper
echo -n $sleeper >"$work/life/zookeeper_server.pid"
ours start "$cfg"; check "start goes past a recycled number" expect 0 STARTED "process $sleeper is another one now"
kill $sleeper
first=$(pid_of life) first_cfg=$cfg
config other
echo -n "$first" >"$work/other/zookeeper_server.pid"
ours stop "$cfg"; check "another server's number is left alone" expect 0 STOPPED "process $first is another one now"
check "  and it serves" "$zkserver" status "$first_cfg"
ours stop "$first_cfg"

# A Java server of something else is a stranger, one of this data is not: what each is told by is all these have.
class=org.apache.zookeeper.server.quorum.QuorumPeerMain
mkfifo "$work/input"; exec 8<>"$work/input" # ends with this script
# java_like CONFIG [FILE]: what looks like a Java server with this configuration, and with a file open; $java is its number.
java_like() {
  bash -c 'exec -a java /bin/sh -c "read line" x "$@"' x $class "$1" <"$work/input" 8>&- 2>>"${2:-/dev/null}" & java=$!; pids+=($java)
  until_true 10 grep -qa "^java" "/proc/$java/cmdline"
}
config stranger
mkdir -p "$work/stranger/version-2" "$work/elsewhere/version-2"
for file in "" "$work/elsewhere/version-2/log.1"; do
  java_like "$work/elsewhere/zoo.cfg" "$file"
  echo -n "$java" >"$work/stranger/zookeeper_server.pid"
  ours stop "$cfg"; check "another Java server's number is left alone" expect 0 STOPPED "process $java is another one now"
  check "  and it lives" kill -0 "$java"
  echo -n "$java" >"$work/stranger/zookeeper_server.pid"
  ours start "$cfg"; check "  and start goes past it" expect 0 STARTED "process $java is another one now"
  ours stop "$cfg"; check "  and stop stops ours" expect 0 STOPPED ''
  kill "$java"
done
for told in "$cfg" "zoo.cfg $work/stranger/version-2/log.1"; do
  # shellcheck disable=SC2086
  java_like $told
  echo -n "$java" >"$work/stranger/zookeeper_server.pid"
  ours start "$cfg"; check "a Java server that is told by ${told##*/} counts as running" expect 1 "already running as process $java\." ''
  ours stop "$cfg"; check "  and is stopped" expect 0 STOPPED ''
  check "  and gone" is_gone "$java"
done
exec 8>&-

# A stop while a start is at work: in whatever order they get on, nothing runs on that was called stopped.
config both
runs_on=0
for _ in {1..40}; do
  "$zkserver" start "$cfg" >"$work/started" 2>&1 & starting=$!
  ours stop "$cfg"
  wait $starting
  [[ $out == *STOPPED ]] && serves && runs_on=$((runs_on + 1))
  "$zkserver" stop "$cfg" >/dev/null 2>&1 || {
    lost=$(cat "$work/both/version-2/ringkeeper.lock"); pids+=("$lost")
    kill "$lost"; until_true 10 is_gone "$lost"
  }
done
check "a stop during a start stops its server" test $runs_on = 0
# The same with a start that takes long to run its server: this script in its place.
exec 9>"$work/both/zookeeper_server.pid"; flock 9
"$zkserver" stop "$cfg" >"$work/out" 2>"$work/err" 9>&- & stopping=$!
waits() { grep -q -- "-> FLOCK .*:$(stat -c %i "$work/both/zookeeper_server.pid") " /proc/locks; }
check "a stop waits for a start at work" until_true 10 waits
ours start "$cfg"; check "  another start does not" expect 1 'FAILED TO WRITE PID$' "another 'zkserver start' or 'stop' is at work on it"
"$zkserver" start-foreground "$cfg" >"$work/started" 2>&1 9>&- & pid=$!; pids+=($pid)
until_true 30 serves; echo -n $pid >&9
check "  it stops the server whose number comes" until_true 30 is_gone $pid
exec 9>&-; wait $stopping; code=$? out=$(cat "$work/out") err=$(cat "$work/err")
check "  and says so" expect 0 STOPPED ''
check "  and no pid file stays" test ! -e "$work/both/zookeeper_server.pid"

# Why it did not start.
config taken
python3 -c "import socket; s = socket.create_server(('127.0.0.1', $port)); s.listen(); input()" < <(sleep 60) & holder=$!
until_true 10 python3 -c "import socket; socket.create_connection(('127.0.0.1', $port))"
ours start "$cfg"; check "a taken port is named" expect 1 'FAILED TO START$' "cannot bind to client port 127.0.0.1:$port"
check "  and no pid file stays" test ! -e "$work/taken/zookeeper_server.pid"
kill $holder
config wrong 'tickTime=soon'
ours start "$cfg"; check "a wrong value is named" expect 2 '^$' "zoo.cfg:5: tickTime=soon: not allowed"
config badpid; mkdir "$work/badpid/zookeeper_server.pid"
ours start "$cfg"; check "a pid file that cannot be written" expect 1 'FAILED TO WRITE PID$' 'Is a directory'
config badlog
ZOO_LOG_DIR=$cfg ours start "$cfg"; check "a log that cannot be written" expect 1 'FAILED TO START$' "$cfg"

# The environment.
config env
mkdir -p "$work/env/etc" "$work/env/logs"; cp "$cfg" "$work/env/etc/my.cfg"; cp "$cfg" "$work/env/etc/zoo.cfg"
export ZOO_LOG_DIR=$work/env/logs ZOO_LOG_FILE=zk.log ZOOPIDFILE=$work/env/run/zk.pid
ZOOCFGDIR=$work/env/etc ZOOCFG=my.cfg ours start
check "ZOOCFGDIR, ZOOCFG" expect 0 STARTED "Using config: $work/env/etc/my.cfg"
check "ZOO_LOG_DIR, ZOO_LOG_FILE" grep -q 'serving clients' "$work/env/logs/zk.log"
check "ZOOPIDFILE" test -s "$work/env/run/zk.pid"
ours --config "$work/env/etc" status; check "--config" expect 0 'Mode: standalone' "Using config: $work/env/etc/zoo.cfg"
ours --config "$work/env/etc" stop my.cfg; check "a plain name is looked for in that folder" expect 0 STOPPED etc/my.cfg
SERVER_JVMFLAGS=-Dzookeeper.snapCount=7 ours print-cmd -Dx=y "$cfg"
check "print-cmd" expect 0 "zkserver start-foreground -Dzookeeper.snapCount=7 -Dx=y $cfg >> $work/env/logs/zk.log 2>&1 < /dev/null" ''
unset ZOO_LOG_DIR ZOO_LOG_FILE ZOOPIDFILE
sed -i "s#^dataDir=.*#dataDir=$work/env/none#" "$cfg"
ZOO_DATADIR_AUTOCREATE_DISABLE=1 ours start "$cfg"
check "ZOO_DATADIR_AUTOCREATE_DISABLE" expect 1 "^ZooKeeper data directory is missing at $work/env/none fix the path or run initialize$" ''

# Where status asks.
config dynamic reconfigEnabled=true standaloneEnabled=true "dynamicConfigFile=$work/dynamic/members"
sed -i '/^clientPort/d' "$cfg"; echo 3 >"$work/dynamic/myid"
echo "server.3=127.0.0.1:1:2:participant;127.0.0.1:$port" >"$work/dynamic/members"
ours start "$cfg"; ours status "$cfg"
check "status finds the port in the dynamic file" expect 0 "Looking in dynamic config file.
Client port found: $port. Client address: 127.0.0.1. Client SSL: false.
Mode: standalone" ''
ours stop "$cfg"
ours version; check "version" expect 0 '^Ringkeeper, version .*Apache ZooKeeper.*3\.9' ''
ours upgrade; check "upgrade" expect 2 '' 'nothing to upgrade'
ours start-foreground -D "$cfg"; check "a file is no property" expect 2 '^$' "'$cfg' behind -D is no property"
ours start one two; check "too many words" expect 2 '' 'Usage: zkserver .*start\|start-foreground\|stop\|version\|restart\|status\|print-cmd'

# From Java to ours, with the habits of its operator.
config over
"$work/java/bin/zkServer.sh" start "$cfg" >/dev/null 2>&1; until_true 30 serves
ours start "$cfg"; check "a Java server counts as running" expect 1 "already running as process $(pid_of over)\." ''
java=$(pid_of over)
ours restart "$cfg"; check "restart goes from Java to ours" expect 0 'STOPPED.*STARTED' ''
check "  Java is gone" is_gone "$java"
check "  ours serves its data" serves
"$work/java/bin/zkServer.sh" stop "$cfg" >/dev/null 2>&1
check "zkServer.sh stops ours" until_true 10 bash -c "! ls -l /proc/*/fd 2>/dev/null | grep -q $work/over/version-2/ringkeeper.lock"
tally 2>/dev/null
