#!/bin/bash
# ZooKeeper's own Java shell (Debian's zkCli.sh) against the server: commands one by one, and a session.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
start_server

cli() { timeout 60 /usr/share/zookeeper/bin/zkCli.sh -server "127.0.0.1:$port" "$@"; }

# says PATTERN ARGS...: the one-shot command succeeds and prints a line that matches.
says() {
  local pattern=$1; shift
  cli "$@" >"$work/out" 2>&1 || { echo "exit code $?"; cat "$work/out"; return 1; }
  grep -aEq -- "$pattern" "$work/out" || { echo "no line like $pattern"; cat "$work/out"; return 1; }
}

# refuses PATTERN ARGS...: the command fails with exit code 1 and prints a line that matches.
refuses() {
  local pattern=$1 code; shift
  cli "$@" >"$work/out" 2>&1; code=$?
  [ $code = 1 ] || { echo "exit code $code"; cat "$work/out"; return 1; }
  grep -aEq -- "$pattern" "$work/out" || { echo "no line like $pattern"; cat "$work/out"; return 1; }
}

check "ls / of an empty server" says '^\[zookeeper\]$' ls /
check "create" says '^Created /a$' create /a hello
check "get" says '^hello$' get /a
check "get -s shows the stat" says '^dataLength = 5$' get -s /a
check "set" says '' set /a again
check "stat" says '^dataVersion = 1$' stat /a
check "set with a wrong version is refused" refuses 'version No is not valid : /a' set -v 7 /a x
check "create again is refused" refuses 'Node already exists: /a' create /a x
check "get of a missing node is refused" refuses 'Node does not exist: /none' get /none
check "create a child" says '^Created /a/b$' create /a/b
check "delete of its parent is refused" refuses 'Node not empty: /a' delete /a
check "ls -R" says '^/a/b$' ls -R /
check "getAllChildrenNumber" says '^5$' getAllChildrenNumber /
check "setquota and listquota" bash -c "$(declare -f cli says); port=$port work=$work
  says '' setquota -n 5 /a && says 'Output quota for /a count=5,bytes=-1' listquota /a"
check "getAcl" says "^'world,'anyone$" getAcl /a
check "delete" says '' delete /a/b
check "sync" says '^Sync is OK$' sync /a

# One session with watches, an ephemeral, containers and TTL nodes, as a person would type it.
interactive() {
  cli >"$work/session" 2>&1 <<'CMD'
create /w one
get -w /w
set /w two
addWatch -m PERSISTENT_RECURSIVE /w
create /w/child x
delete /w/child
create -e /w-ephemeral here
getEphemerals
create -s /seq- x
create -c /container
create -t 100000 /ttl x
addauth digest bob:pw
setAcl /w auth::cdrwa
getAcl /w
deleteall /container
removewatches /w
quit
CMD
}
check "an interactive session runs" interactive
seen() { grep -aEq -- "$1" "$work/session" || { echo "no line like $1"; cat "$work/session"; return 1; }; }
check "  it is told where it connects" seen "^Connecting to 127.0.0.1:$port"
check "  it sees the session's first event" seen 'WatchedEvent state:SyncConnected type:None path:null'
check "  a data watch fires" seen 'WatchedEvent state:SyncConnected type:NodeDataChanged path:/w$'
check "  a recursive watch sees a create" seen 'type:NodeCreated path:/w/child'
check "  a recursive watch sees a delete" seen 'type:NodeDeleted path:/w/child'
check "  getEphemerals" seen '^\[/w-ephemeral\]$'
check "  a sequential name" seen '^Created /seq-[0-9]{10}$'
check "  a container" seen '^Created /container$'
check "  a TTL node" seen '^Created /ttl$'
check "  auth becomes a digest entry" seen "^'digest,'bob:ikIaKsbtGweaHnb/jKn7OHqbunM=$"
check "  quit ends the session: the ephemeral is gone" refuses 'Node does not exist' get /w-ephemeral
tally
