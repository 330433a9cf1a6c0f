#!/usr/bin/env bash
# Builds `lowbit` and the tests of arithmetic for ARM64 with Debian's cross compiler, runs them under qemu-user, and
# compares logits of small models with those of this machine's program, byte by byte. The last line is the verdict.
#
# Usage: scripts/test_arm64.sh [--no-setup] [TEST...]
#   --no-setup   the cross compiler, qemu-user and ARM64's libraries are there already
#   TEST...      test programs to run instead of all of the arithmetic
# Environment: LOWBIT_TEST_DATA as in test.sh. LOWBIT_CACHE (else XDG_CACHE_HOME/lowbit, else ~/.cache/lowbit) holds
# ARM64's libraries, 40 MB, unpacked from Debian packages; the system gets none of them.
set -euo pipefail
cd "$(dirname "$0")/.."
die() { printf 'lowbit: test_arm64: %s\n' "$*" >&2; exit 2; }

setup=1 tests=()
while [ $# -gt 0 ]; do
  case $1 in
    --no-setup) setup=0 ;;
    -h | --help) sed -n '2,/^set -e/{/^set -e/d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
    -*) die "unknown flag '$1'; --help lists them" ;;
    *) tests+=("$1") ;;
  esac
  shift
done
root=${LOWBIT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/lowbit}/arm64
libraries=(libfmt-dev libfmt9 libhwy-dev libhwy1 libgtest-dev zlib1g-dev zlib1g liblzma-dev liblzma5
  libxxhash-dev libxxhash0 libzstd-dev libzstd1 libsentencepiece-dev libsentencepiece0
  libtomlplusplus-dev libtomlplusplus3)
both=(libcli11-dev nlohmann-json3-dev)  # headers alone

fetch_libraries() {
  [ ! -e "$root/whole" ] || return 0
  command -v apt-get >/dev/null || die "ARM64's libraries come from Debian packages, and there is no apt-get here"
  local part=$root.part
  rm -rf "$part"
  mkdir -p "$part"/{state/lists/partial,cache/archives/partial,packages}
  # A state of its own: neither the system's packages nor its lists change, and no root is needed.
  local options=(-qq -o APT::Architectures::=amd64 -o APT::Architectures::=arm64
    -o "Dir::State=$part/state" -o Dir::State::status=/dev/null
    -o "Dir::Cache=$part/cache" -o APT::Sandbox::User=root -o Acquire::Retries=3 -o Acquire::Languages=none)
  apt-get "${options[@]}" update
  (cd "$part/packages" && apt-get "${options[@]}" download "${libraries[@]/%/:arm64}" "${both[@]}")
  local package
  for package in "$part"/packages/*.deb; do dpkg -x "$package" "$part"; done
  rm -rf "$part"/{state,cache,packages,usr/share/doc}
  touch "$part/whole"
  rm -rf "$root"
  mv -T "$part" "$root"
}

if [ "$setup" = 1 ]; then
  missing=()
  command -v aarch64-linux-gnu-g++ >/dev/null || missing+=(g++-aarch64-linux-gnu)
  command -v qemu-aarch64 >/dev/null || missing+=(qemu-user)
  if [ ${#missing[@]} -gt 0 ]; then
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || die "missing: ${missing[*]}; install them as root"
    DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o APT::Install-Recommends=false install "${missing[@]}" >/dev/null
  fi
  ./scripts/setup.sh
  fetch_libraries
fi

./scripts/build.sh lowbit lowbit-train
export CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1 CCACHE_SLOPPINESS=pch_defines,time_macros
folder=build-arm64
cmake -S . -B $folder -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_TOOLCHAIN_FILE=cmake/arm64.cmake \
  -DLOWBIT_ARM64_ROOT="$root" -DLOWBIT_TRAIN=OFF >$folder.log 2>&1 ||
  { cat $folder.log >&2; die "the build could not be configured; the lines above say why"; }
rm -f $folder.log
if [ ${#tests[@]} -eq 0 ]; then
  mapfile -t tests < <(ninja -C $folder -t targets all |
    grep -oE '^(base|formats|kernels|run)(_[a-z]+)*_test' | grep -v long | sort -u)
fi
cmake --build $folder --parallel --target lowbit "${tests[@]}"
failed=()
for test in "${tests[@]}"; do
  echo "== $test"
  qemu-aarch64 -L /usr/aarch64-linux-gnu "$folder/$test" --gtest_brief=1 || failed+=("$test")
done

# The same bytes as this machine's program on its best instruction set, for models of every kind of format after two
# steps.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
ids() {  # COUNT: uint16 below 64, from a generator of our own so that a failure can be repeated
  local state=1 i
  for ((i = 0; i < $1; ++i)); do
    state=$(((state * 1103515245 + 12345) & 0x7fffffff))
    printf '%b' "\\x$(printf %02x $(((state >> 16) & 63)))\\x00"
  done
}
said() { cat "$work/log" >&2; exit 1; }  # what the program that failed had to say
ids 284 >"$work/batches"
ids 70 >"$work/ids"
for format in w1a1 w1.58a8 w2a2 w3a3 w4a4 w4a8 w8a8 w4a16 bf16 f32; do
  head=()
  [ $format != w4a4 ] || head=(--head w8a8)
  [ $format != w2a2 ] || head=(--head w4a8)
  ./build/lowbit train --batches "$work/batches" --out "$work/$format" --format $format "${head[@]}" \
    --layers 3 --width 128 --heads 4 --kv-heads 2 \
    --mlp 192 --vocab 64 --seq 70 --batch 2 --steps 2 --threads 1 >/dev/null 2>"$work/log" || said
  ./build/lowbit logits --model "$work/$format" --ids "$work/ids" --out "$work/here.npy" 2>"$work/log" || said
  qemu-aarch64 -L /usr/aarch64-linux-gnu $folder/lowbit logits --model "$work/$format" --ids "$work/ids" --chunk 7 \
    --threads 2 --out "$work/there.npy" 2>"$work/log" || said
  if cmp -s "$work/here.npy" "$work/there.npy"; then
    echo "logits $format: equal"
  else
    echo "logits $format: DIFFERENT"
    failed+=("logits $format")
  fi
done
if [ ${#failed[@]} -gt 0 ]; then
  echo "ARM64: failed: ${failed[*]}"
  exit 8
fi
echo "ARM64: ${#tests[@]} test programs passed, logits of 10 formats equal"
