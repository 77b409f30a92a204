#!/bin/bash
# The systemd units: clean for systemd-analyze, true to their comments, and a server lives within their limits.
# usage: tests/control/units.sh; ZKSERVER names another binary
. "$(dirname "${BASH_SOURCE[0]}")/../clients/lib.sh"
units=$repo/conf/systemd
zkserver=${ZKSERVER:-$repo/target/release/zkserver}

# The units as installed, but with the program where it was built.
mkdir -p "$work/units"
for unit in ringkeeper.service ringkeeper@.service ringkeeper@one.service; do
  sed "s#^ExecStart=/usr/bin/zkserver #ExecStart=$zkserver #" "$units/${unit/one/}" >"$work/units/$unit"
done
is_clean() { local said; said=$(systemd-analyze verify --man=no "$1" 2>&1); echo "$said"; [ -z "$said" ]; }
check "ringkeeper.service is clean" is_clean "$work/units/ringkeeper.service"
check "ringkeeper@.service is clean, and so is an instance" is_clean "$work/units/ringkeeper@one.service"

settings() { grep -v '^#' "$1" | sed -e 's#%i#NAME#g'; }
differences() { diff <(settings "$units/ringkeeper.service") <(settings "$units/ringkeeper@.service"); }
check "the two differ in their folders only" test "$(differences | grep -c '^>')" = "$(differences | grep -c '^> .*NAME')"

# RestartPreventExitStatus holds the codes by which a server says that starting again does not help.
value() { sed -n "s/^$1=//p" "$units/ringkeeper.service"; }
check "no restart after wrong configuration, data directory, io_uring" test "$(value RestartPreventExitStatus)" = "2 3 21"
for name in Invocation:2 DataDirectory:3 RingUnavailable:21; do
  check "  ${name#*:} is ${name%:*} in src/error.rs" grep -q "^    ${name%:*} = ${name#*:},$" "$repo/src/error.rs"
done

# Each system call of a server's life is one the units allow. (The kernel does not ask about those in a ring.)
names() {
  systemd-analyze syscall-filter "$1" | while read -r name _; do
    case $name in '#'* | "$1") ;; @*) names "$name" ;; *) echo "$name" ;; esac
  done
}
for group in $(value SystemCallFilter); do
  case $group in
    ~*) names "${group#\~}" | sort -u >"$work/denied"; comm -23 "$work/allowed" "$work/denied" >"$work/left"
        mv "$work/left" "$work/allowed" ;;
    *) names "$group" >>"$work/allowed"; sort -u -o "$work/allowed" "$work/allowed" ;;
  esac
done
port=$(free_port); write_config
live() {
  local traced pid
  strace -f -qq -o "$work/trace" "$zkserver" start-foreground "$work/zoo.cfg" >"$work/server.log" 2>&1 & traced=$!
  until_true 60 serves || { echo "it does not serve"; tail -5 "$work/server.log"; kill $traced; return 1; }
  python3 "$here/../control/session.py" "$port" || { kill $traced; return 1; }
  for word in ruok envi mntr cons wchs dirs; do four_letter $word >/dev/null; done
  pid=$(cat "$work/data/version-2/ringkeeper.lock")
  kill "$pid"; wait $traced
}
check "a server lives a whole life under strace" live
sed -En 's/^[0-9]+ +([a-z_0-9]+)\(.*/\1/p' "$work/trace" 2>/dev/null | sort -u >"$work/called"
check "  it used its rings" grep -qx io_uring_enter "$work/called"
check "  every system call of it is allowed" test -z "$(comm -23 "$work/called" "$work/allowed" | tee "$work/beyond")"
[ ! -s "$work/beyond" ] || sed 's/^/        not allowed: /' "$work/beyond"
tally
