#!/usr/bin/env bash
# Sets up, builds, and runs the tests. The last line is ctest's verdict, the exit code is ctest's.
#
# Usage: scripts/test.sh [--long] [--no-setup] [--no-train] [--preset release|debug-sanitized]
#   --long       also the tests that take long (kill and resume, real runs)
#   --no-setup   neither packages nor libtorch are looked for
#   --no-train   without lowbit-train and libtorch
# Environment: LOWBIT_TEST_DATA=DIR holds golden numbers, models and texts; tests that need it are skipped without it.
set -euo pipefail
cd "$(dirname "$0")/.."
die() { printf 'lowbit: test: %s\n' "$*" >&2; exit 2; }

long=0 setup=1 preset=release train=()
while [ $# -gt 0 ]; do
  case $1 in
    --long) long=1 ;;
    --no-setup) setup=0 ;;
    --no-train) train=(--no-train) ;;
    --preset) [ $# -ge 2 ] || die "--preset takes release or debug-sanitized"; preset=$2; shift ;;
    --preset=*) preset=${1#*=} ;;
    -h | --help) sed -n '2,/^set -e/{/^set -e/d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
    *) die "unknown flag '$1'; --help lists them" ;;
  esac
  shift
done
[ "$preset" != debug-sanitized ] || train=(--no-train)
if [ -n "${LOWBIT_TEST_DATA:-}" ]; then
  [ -d "$LOWBIT_TEST_DATA" ] || die "LOWBIT_TEST_DATA names $LOWBIT_TEST_DATA, which is no folder; mend it or unset it"
  LOWBIT_TEST_DATA=$(cd "$LOWBIT_TEST_DATA" && pwd)
  export LOWBIT_TEST_DATA
fi

tools=()
[ "$long" = 0 ] || tools=(--fuzz)
[ "$setup" = 0 ] || ./scripts/setup.sh "${train[@]}" "${tools[@]}"
./scripts/build.sh --preset "$preset" "${train[@]}"
folder=build
[ "$preset" = release ] || folder=build-sanitized

only=(--label-exclude long)
[ "$long" = 0 ] || only=()
log=$folder/test.log
code=0
ctest --test-dir "$folder" --parallel "$(nproc)" --output-on-failure --no-label-summary \
  --no-tests=error "${only[@]}" 2>&1 |
  tee "$log" || code=${PIPESTATUS[0]}
verdict=$(grep -E '^[0-9]+% tests passed' "$log" | tail -n 1 || true)
skipped=$(grep -cE '\*\*\*Skipped' "$log" || true)
echo
among=''
[ -n "${LOWBIT_TEST_DATA:-}" ] || among=', those that need LOWBIT_TEST_DATA among them'
[ "$skipped" = 0 ] || echo "$skipped tests were skipped$among"
echo "${verdict:-ctest did not end its run (exit code $code)}"
exit "$code"
