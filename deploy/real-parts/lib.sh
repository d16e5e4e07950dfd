# Where the real parts of demo and tests are: Consul, Envoy, Prometheus, Alertmanager, Go, the statistics' oracles.
# Sourced by the scripts beside it, by deploy/install-dependencies and tests/oracles/run. It only looks; it installs
# nothing.
# shellcheck shell=bash

CONSUL_VERSION=1.16.3 # the newest under an open-source licence (MPL-2.0)
ENVOY_VERSION=1.40.0
GO_PACKAGE_VERSION=1.26.6

home=${HOME:-$(getent passwd "$(id -u)" | cut -d: -f6)}
CACHE=${XDG_CACHE_HOME:-$home/.cache}/consul-canary
VENV=$CACHE/venv
BUILT_CONSUL=$CACHE/bin/consul-$CONSUL_VERSION

# at_least VERSION LEAST: whether VERSION (1.22.0, 1.24rc1) is LEAST or later.
at_least() {
  [[ $(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1) == "$2" ]]
}

find_consul() {
  if [[ -n ${CONSUL_CANARY_CONSUL:-} ]]; then
    echo "$CONSUL_CANARY_CONSUL"
    return
  fi
  local path version
  if path=$(command -v consul); then
    version=$("$path" version 2>/dev/null | sed -n '1s/^Consul v//p')
    if [[ -n $version ]] && at_least "$version" 1.16; then
      echo "$path"
      return
    fi
  fi
  [[ -x $BUILT_CONSUL ]] && echo "$BUILT_CONSUL"
}

find_envoy() {
  if [[ -n ${CONSUL_CANARY_ENVOY:-} ]]; then
    echo "$CONSUL_CANARY_ENVOY"
    return
  fi
  local path magic
  if path=$(command -v envoy); then
    # The wheel's own `envoy` is a script that stays as the program's parent: only the program itself will do.
    read -r -N 2 magic <"$path" || true
    if [[ $magic != '#!' ]]; then
      echo "$path"
      return
    fi
  fi
  for path in "$VENV"/lib/python3*/site-packages/envoy/_bin/envoy; do
    [[ -x $path ]] && echo "$path" && return
  done
  return 1
}

find_go() {
  local path version
  for path in "$(command -v go || true)" "$VENV/bin/go"; do
    [[ -n $path && -x $path ]] || continue
    version=$(GOTOOLCHAIN=local "$path" env GOVERSION 2>/dev/null)
    if [[ -n $version ]] && at_least "${version#go}" 1.24; then
      echo "$path"
      return
    fi
  done
  return 1
}

find_alertmanager() {
  command -v prometheus-alertmanager || command -v alertmanager
}

# Whether our virtual environment has all that tests/oracles compares with, in the versions named there.
has_oracles() {
  local here line name
  here=$(dirname "${BASH_SOURCE[0]}")
  while read -r line; do
    [[ $line =~ ^[a-z] ]] || continue
    name=${line%%==*}
    compgen -G "$VENV/lib/python3*/site-packages/${name//-/_}-${line##*==}.dist-info" >/dev/null || return 1
  done <"$here/../../tests/oracles/requirements.txt"
}

# say TEXT: progress, on stderr, so that stdout stays for results.
say() {
  printf '%s %s\n' "$(date +%H:%M:%S)" "$*" >&2
}

# use_ccache ROOT: settings with which a compilation in one clone is found again by another one. CCACHE_DEPEND, because
# otherwise the preprocessor runs before the compiler and apart from it: a header that is edited in between leaves an
# object in the cache that does not belong to its key (seen: fields of a struct shifted by 8 bytes, in a fresh clone).
use_ccache() {
  export CCACHE_BASEDIR=$1 CCACHE_NOHASHDIR=1 CCACHE_DEPEND=1 CCACHE_DIR=${CCACHE_DIR:-$CACHE/ccache}
}

# build_targets ROOT PRESET [TARGET…]: configures and builds, silent when that takes no time, with lines of progress
# otherwise and the log's end when it fails. JOBS limits the compilations at once.
build_targets() {
  local root=$1 preset=$2 log started=$SECONDS job rc=0
  shift 2
  log=$root/build/$preset.log
  mkdir -p "$root/build"
  {
    cd "$root" && cmake --preset "$preset" && cmake --build --preset "$preset" ${JOBS:+-j "$JOBS"} ${1:+--target "$@"}
  } >"$log" 2>&1 &
  job=$!
  while kill -0 "$job" 2>/dev/null; do
    sleep 0.2
    if ((SECONDS - started >= ${next:=5})); then
      say "building ($preset): $((SECONDS - started)) s: $(tail -n 1 "$log" | cut -c 1-70)"
      next=$((SECONDS - started + 15))
    fi
  done
  next=5
  wait "$job" || rc=$?
  if ((rc)); then
    say "the build failed; log $log:"
    grep -nE -A 12 'error|FAILED|Error' "$log" | head -n 60 >&2 || tail -n 30 "$log" >&2
    return "$rc"
  fi
  say "built ($preset) in $((SECONDS - started)) s"
}
