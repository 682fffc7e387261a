# Shared by quickstart, lab and test. Sourced by bash, after `set -euo pipefail`.

SWARM_DAEMONS=(manager-raft scheduler dispatcher agent ingress-lb)
SWARM_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

PACKAGES_BUILD=(gcc libc6-dev pkg-config meson ninja-build git libczmq-dev libzmq3-dev protobuf-c-compiler libprotobuf-c-dev
  libsodium-dev liblmdb-dev libjansson-dev g++ libarchive-dev libnl-3-dev libnl-route-3-dev libnl-nf-3-dev
  libnftables-dev libsmartcols-dev libseccomp-dev uthash-dev python3)
PACKAGES_RUN=(runc crun skopeo nftables iproute2 conntrack busybox-static golang-github-containers-common procps util-linux
  curl ca-certificates)
PACKAGES_TEST=(libcmocka-dev python3-pytest docker-registry prometheus tcpdump clang jq strace)

say() { printf '\033[1m==>\033[0m %s\n' "$*"; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

need_root() { [ "$(id -u)" = 0 ] || die "must run as root: it makes network namespaces, mounts and cgroups"; }

# Install what is missing from the distribution, and nothing else. Daemons of packages are kept from starting:
# a registry or a Prometheus is only ever started by the tests, on loopback.
need_packages() {
  local missing=() name
  for name in "$@"; do
    dpkg-query -W -f='${Status}' "$name" 2>/dev/null | grep -q '^install ok installed$' || missing+=("$name")
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  command -v apt-get >/dev/null || die "needs the packages ${missing[*]}; only Debian and Ubuntu are known"
  say "installing ${#missing[@]} packages: ${missing[*]}"
  local policy=/usr/sbin/policy-rc.d made=
  if [ ! -e $policy ]; then printf '#!/bin/sh\nexit 101\n' >$policy; chmod 755 $policy; made=1; fi
  local rc=0
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"; } \
    >/tmp/swarm-packages.log 2>&1 || rc=$?
  [ -z "$made" ] || rm -f $policy
  [ $rc = 0 ] || { tail -n 5 /tmp/swarm-packages.log >&2; die "installing packages failed: ${missing[*]}"; }
}

# build DIR TYPE [MESON-OPTION...]: set up once, then build; prints only what goes wrong.
build() {
  local dir=$1 type=$2; shift 2
  local log=$dir.log
  mkdir -p "$(dirname "$dir")"
  if [ ! -f "$dir/build.ninja" ]; then
    meson setup "$dir" "$SWARM_ROOT" --buildtype="$type" "$@" >"$log" 2>&1 || { tail -n 20 "$log" >&2; die "meson setup failed"; }
  fi
  ninja -C "$dir" >"$log" 2>&1 || { grep -E 'error|FAILED|warning' "$log" | head -n 20 >&2; die "build failed, see $log"; }
}

have_systemd() { [ -d /run/systemd/system ] && [ "$(cat /proc/1/comm)" = systemd ]; }

# wait_for SECONDS WHAT COMMAND...: poll a condition; a deadline, not a guess at how long it takes.
wait_for() {
  local seconds=$1 what=$2; shift 2
  local end=$((SECONDS + seconds))
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $end ] || { printf 'timed out after %s s: %s\n' "$seconds" "$what" >&2; return 1; }
    read -rt 0.05 <> <(:) || true
  done
}

# A number from text, 0..m-1: gives each prefix its own bridge, subnet, table and ports.
hash_of() { printf '%s' "$1" | cksum | awk -v m="$2" '{ print $1 % m }'; }

port_free() { ! (ss -Hltun "sport = :$1" 2>/dev/null | grep -q .); }

# ---- s6 ---------------------------------------------------------------------------------------------------------
# s6_service SCANDIR NAME LOGDIR COMMAND...: one supervised daemon with readiness on descriptor 3 and a rotated log.
s6_service() {
  local scan=$1 name=$2 logs=$3; shift 3
  local dir=$scan/$name
  mkdir -p "$dir/log" "$logs/$name"
  { echo '#!/bin/sh'; echo 'exec 2>&1'; printf 'exec'; printf " '%s'" "$@" --ready-fd 3; echo; } >"$dir/run"
  printf '#!/bin/sh\nexec s6-log n5 s1000000 %q\n' "$logs/$name" >"$dir/log/run"
  echo 3 >"$dir/notification-fd"
  chmod 755 "$dir/run" "$dir/log/run"
}

# Stop everything under a scan directory and its svscan.
s6_down() {
  local scan=$1
  [ -d "$scan/.s6-svscan" ] || return 0
  s6-svscanctl -t "$scan" 2>/dev/null || return 0
  wait_for 20 "the supervisor of $scan to end" s6_gone "$scan" || pkill -9 -f "s6-(svscan|supervise).*$scan" || true
}
# The scanner ends before those it started; a supervisor ends after its daemon.
s6_gone() {
  local dir
  ! s6-svscanctl -a "$1" 2>/dev/null || return 1
  for dir in "$1"/*/ "$1"/*/log/; do
    [ ! -d "$dir/supervise" ] || ! s6-svok "$dir" 2>/dev/null || return 1
  done
}
