#!/bin/sh
# Is memory flat under mixed load while sessions come and go?
#
#   bench/soak.sh SERVER [MINUTES [PORT]]     SERVER: a zkserver; 10 minutes and port 2199 if not said
#
# A tree of 200,000 znodes, so that five percent is more than a few connections; then 50 sessions at
# 4,000 requests a second, 70 % reads, and beside them 300 sessions opened, held and closed, over and
# over. Resident memory is looked at each second. The first tenth is warm-up; the means of the first
# and the last third of the rest are compared, and must not differ by more than 5 %.
set -eu

server=$1 minutes=${2:-10} port=${3:-2199}
bench=$(dirname "$server")/zkbench
address=127.0.0.1:$port
seconds=$((minutes * 60))
work=$(mktemp -d "${TMPDIR:-/var/tmp}/soak.XXXXXX")

printf 'dataDir=%s/data\nclientPort=%s\nclientPortAddress=127.0.0.1\nmaxClientCnxns=0\nadmin.enableServer=false\n' \
    "$work" "$port" >"$work/zoo.cfg"
"$server" start-foreground "$work/zoo.cfg" >"$work/server.log" 2>&1 &
pid=$!
trap 'kill $pid 2>/dev/null; wait; rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
tries=0
until grep -qs 'serving clients' "$work/server.log"; do
    tries=$((tries + 1))
    [ $tries -lt 100 ] || { cat "$work/server.log"; exit 1; }
    sleep 0.1
done

quietly() { "$bench" "$@" --servers "$address" >>"$work/load.log" 2>&1; }

quietly run --workload load --znodes 200000 --keep --folder base
quietly run --workload mixed --read-percent 70 --sessions 50 --rate 4000 \
    --duration "${seconds}s" &
load=$!
(while kill -0 $load 2>/dev/null; do quietly run --workload open --sessions 300 --hold 6s; done) &
churn=$!

: >"$work/memory"
second=0
while [ $second -lt $seconds ] && kill -0 $load 2>/dev/null; do
    awk '/^VmRSS/ { print $2 }' "/proc/$pid/status" >>"$work/memory"
    second=$((second + 1))
    sleep 1
done
wait $load || { tail -n 20 "$work/load.log"; exit 1; }
wait $churn || { tail -n 20 "$work/load.log"; exit 1; }

awk -v seconds="$second" '
    NR <= seconds / 10 { next }
    NR <= seconds * 0.4 { first += $1; firsts++ }
    NR > seconds * 0.7 { last += $1; lasts++ }
    least == 0 || $1 < least { least = $1 }
    $1 > most { most = $1 }
    END {
        first /= firsts; last /= lasts
        growth = (last / first - 1) * 100
        printf "resident memory: mean of the first third %.1f MB, of the last %.1f MB (%+.1f %%); ", \
            first / 1024, last / 1024, growth
        printf "least %.1f, most %.1f MB in %d s\n", least / 1024, most / 1024, seconds
        exit growth > 5 || growth < -5
    }' "$work/memory"
