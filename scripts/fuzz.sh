#!/usr/bin/env bash
# Fuzzes what reads bytes from outside: builds the targets of tests/fuzz with clang and libFuzzer into build-fuzz/ and
# runs each for a while, under the address and undefined-behaviour sanitizers. What is found lies in
# build-fuzz/found/TARGET/; a small one belongs into tests/fuzz/corpus/TARGET/, where the tests replay it. Exit code 1
# if anything was found.
#
# Usage: scripts/fuzz.sh [--seconds N] [--no-build] [TARGET...]
#   --seconds N   how long each target runs (60)
#   --no-build    run what was built before
#   TARGET...     these alone; `scripts/fuzz.sh --list` names all
# Without clang or its fuzzer library it says so and ends with 77, which ctest counts as skipped.
# Environment: LOWBIT_JOBS=N for so many compiles and targets at once.
set -euo pipefail
cd "$(dirname "$0")/.."
die() { printf 'lowbit: fuzz: %s\n' "$*" >&2; exit 2; }

seconds=60 build=1 list=0 wanted=()
while [ $# -gt 0 ]; do
  case $1 in
    --seconds) [ $# -ge 2 ] || die "--seconds takes a number"; seconds=$2; shift ;;
    --seconds=*) seconds=${1#*=} ;;
    --no-build) build=0 ;;
    --list) list=1 ;;
    -h | --help) sed -n '2,/^set -e/{/^set -e/d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
    -*) die "unknown flag '$1'; --help lists them" ;;
    *) wanted+=("$1") ;;
  esac
  shift
done
[[ $seconds =~ ^[1-9][0-9]*$ ]] || die "--seconds $seconds: give a whole number above 0"
mapfile -t all < <(grep -oE '\{"[a-z_]+", +[a-z_]+\}' tests/fuzz/targets.cpp | sed 's/{"\([a-z_]*\)".*/\1/')
if [ "$list" = 1 ]; then printf '%s\n' "${all[@]}"; exit 0; fi
[ ${#wanted[@]} -gt 0 ] || wanted=("${all[@]}")
for target in "${wanted[@]}"; do
  [[ " ${all[*]} " == *" $target "* ]] || die "there is no target '$target'; choose from: ${all[*]}"
done

if ! command -v clang++ >/dev/null ||
  ! echo 'extern "C" int LLVMFuzzerTestOneInput(const char*, unsigned long) { return 0; }' |
    clang++ -x c++ -fsanitize=fuzzer,address - -o /dev/null 2>/dev/null; then
  printf 'lowbit: fuzz: skipped: %s\n' "clang++ with its fuzzer library is not installed (Debian: clang,
libclang-rt-14-dev); scripts/setup.sh --fuzz installs it" | tr '\n' ' ' >&2
  echo >&2
  exit 77
fi

jobs=${LOWBIT_JOBS:-$(nproc)}
if [ "$build" = 1 ]; then
  mkdir -p build-fuzz
  export CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1 CCACHE_SLOPPINESS=pch_defines,time_macros
  log=build-fuzz/configure.log
  { cmake -S . -B build-fuzz/kernels -G Ninja -DCMAKE_BUILD_TYPE=Release -DLOWBIT_TRAIN=OFF -DLOWBIT_TESTS=OFF &&
    cmake --preset fuzz; } >"$log" 2>&1 || {
    cat "$log" >&2
    die "the build could not be configured; the lines above say why"
  }
  cmake --build build-fuzz/kernels --parallel "$jobs" --target lowbit_machine lowbit_kernels
  cmake --build build-fuzz --parallel "$jobs" --target fuzz_seeds "${wanted[@]/#/fuzz_}"
fi
rm -rf build-fuzz/seeds
./build-fuzz/fuzz_seeds build-fuzz/seeds >/dev/null

fuzz_one() {  # TARGET: a line with what came of it; the log is kept
  local target=$1 work=build-fuzz/work/$1 found=build-fuzz/found/$1 log=build-fuzz/$1.log code=0 corpus=()
  mkdir -p "$work" "$found"
  rm -f "$found"/*
  [ ! -d "tests/fuzz/corpus/$target" ] || corpus=("tests/fuzz/corpus/$target")
  ASAN_OPTIONS=allocator_may_return_null=0:detect_leaks=1 \
    "./build-fuzz/fuzz_$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -malloc_limit_mb=2048 \
    -max_len=262144 -print_final_stats=1 -artifact_prefix="$found/" \
    "$work" "build-fuzz/seeds/$target" "${corpus[@]}" >"$log" 2>&1 || code=$?
  local runs
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  if [ "$code" = 0 ]; then
    echo "$target: nothing found in ${runs:-?} runs"
  else
    local reason
    reason=$(grep -m 1 -E 'ERROR: |runtime error: |SUMMARY: ' "$log" || tail -n 1 "$log")
    echo "$target: FOUND $(ls "$found" | head -n 1) after ${runs:-?} runs: $reason ($log)"
    return 1
  fi
}
export -f fuzz_one
export seconds
printf '%s\n' "${wanted[@]}" | xargs -P "$jobs" -I{} bash -c 'fuzz_one {}'
