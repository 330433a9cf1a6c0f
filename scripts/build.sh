#!/usr/bin/env bash
# Configures and builds: the preset `release` into build/, `debug-sanitized` into build-sanitized/.
#
# Usage: scripts/build.sh [--preset release|debug-sanitized] [--no-train] [TARGET...]
#   --no-train   `lowbit` alone, without lowbit-train, which needs libtorch (debug-sanitized never has it)
#   TARGET...    what to build instead of everything
# Environment: LOWBIT_LIBTORCH=DIR for a libtorch elsewhere, LOWBIT_JOBS=N for so many compiles at once.
set -euo pipefail
cd "$(dirname "$0")/.."
die() { printf 'lowbit: build: %s\n' "$*" >&2; exit 2; }

preset=release train=ON targets=()
while [ $# -gt 0 ]; do
  case $1 in
    --preset) [ $# -ge 2 ] || die "--preset takes release or debug-sanitized"; preset=$2; shift ;;
    --preset=*) preset=${1#*=} ;;
    --no-train) train=OFF ;;
    -h | --help) sed -n '2,/^set -e/{/^set -e/d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
    -*) die "unknown flag '$1'; --help lists them" ;;
    *) targets+=("$1") ;;
  esac
  shift
done
case $preset in
  release) folder=build ;;
  debug-sanitized) folder=build-sanitized train=OFF ;;
  *) die "unknown preset '$preset'; choose release or debug-sanitized" ;;
esac
for tool in cmake ninja g++; do
  command -v "$tool" >/dev/null || die "$tool is not installed; scripts/setup.sh installs what is needed"
done

# A compile that sees torch takes 1.3 GB: fewer at once where memory is short.
jobs=${LOWBIT_JOBS:-$(nproc)}
if [ -z "${LOWBIT_JOBS:-}" ] && [ -r /proc/meminfo ]; then
  fit=$(awk '/^MemAvailable:/ {print int($2 / 1400000)}' /proc/meminfo)
  [ "${fit:-$jobs}" -ge "$jobs" ] || jobs=$((fit > 0 ? fit : 1))
fi

# ccache then finds what another checkout compiled: paths inside the checkout count as relative.
# Precompiled headers are told apart by content.
export CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1 CCACHE_SLOPPINESS=pch_defines,time_macros

# -U: the folder of libtorch is looked up anew each time, since setup.sh may have changed it. CMake's own words are
# kept for when it fails.
mkdir -p "$folder"
if ! cmake --preset "$preset" -ULOWBIT_LIBTORCH -DLOWBIT_TRAIN=$train >"$folder/configure.log" 2>&1; then
  cat "$folder/configure.log" >&2
  die "the build could not be configured; the lines above say why (scripts/setup.sh installs what is missing)"
fi
if [ ${#targets[@]} -gt 0 ]; then
  exec cmake --build "$folder" --parallel "$jobs" --target "${targets[@]}"
fi
exec cmake --build "$folder" --parallel "$jobs"
