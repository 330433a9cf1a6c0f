#!/usr/bin/env bash
# Gets what lowbit is built from: Debian packages, and libtorch from its Python wheel. Repeating it costs a second,
# and an interrupted one goes on where it stopped. On a system that is not Debian, or without root, it installs nothing
# into the system: it says what is missing.
#
# Usage: scripts/setup.sh [--no-train] [--docs] [--fuzz] [--libtorch DIR | --fetch-libtorch]
#   --no-train        no libtorch: `lowbit` alone is built, which runs models and does not train them
#   --docs            also what scripts/docs.sh builds the documentation's site with
#   --fuzz            also what scripts/fuzz.sh builds its targets with (clang and its fuzzer library)
#   --libtorch DIR    use the libtorch in DIR (DIR/lib, DIR/include) and fetch none
#   --fetch-libtorch  go back from --libtorch DIR to the fetched one
# Environment: LOWBIT_CACHE (else XDG_CACHE_HOME/lowbit, else ~/.cache/lowbit) holds libtorch; LOWBIT_LIBTORCH=DIR is as
# --libtorch DIR, for one call.
set -euo pipefail

version=2.15.0
die() { printf 'lowbit: setup: %s\n' "$*" >&2; exit 2; }

train=1 docs=0 fuzz=0 own='' fetch=0
while [ $# -gt 0 ]; do
  case $1 in
    --no-train) train=0 ;;
    --docs) docs=1 ;;
    --fuzz) fuzz=1 ;;
    --libtorch) [ $# -ge 2 ] || die "--libtorch takes a folder"; own=$2; shift ;;
    --libtorch=?*) own=${1#*=} ;;
    --fetch-libtorch) fetch=1 ;;
    -h | --help) sed -n '2,/^set -e/{/^set -e/d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
    *) die "unknown flag '$1'; --help lists them" ;;
  esac
  shift
done
if [ -n "${LOWBIT_CACHE:-}" ]; then
  cache=$LOWBIT_CACHE
elif [ -n "${XDG_CACHE_HOME:-}${HOME:-}" ]; then
  cache=${XDG_CACHE_HOME:-$HOME/.cache}/lowbit
else
  die "neither HOME nor LOWBIT_CACHE is set; set LOWBIT_CACHE to a folder for libtorch"
fi
final=$cache/libtorch-$version

# ---- packages: Debian's name, and what shows that it is there on a system without dpkg (a command or a header) ----
packages=(
  "g++ g++" "cmake cmake" "ninja-build ninja" "ccache ccache" "pkg-config pkg-config" "binutils readelf"
  "libfmt-dev fmt/format.h" "libxxhash-dev xxhash.h" "nlohmann-json3-dev nlohmann/json.hpp"
  "libtomlplusplus-dev toml++/toml.h" "libcli11-dev CLI/CLI.hpp" "libsentencepiece-dev sentencepiece_processor.h"
  "libzstd-dev zstd.h" "liblzma-dev lzma.h" "zlib1g-dev zlib.h" "libhwy-dev hwy/highway.h"
  "libgtest-dev gtest/gtest.h" "libbenchmark-dev benchmark/benchmark.h" "librapidcheck-dev rapidcheck.h"
  "bible-kjv bible"
)
python_packages=("python3 python3" "python3-pip python3:pip" "ca-certificates")
docs_packages=("mkdocs mkdocs" "mkdocs-material")

fuzz_packages=("clang clang++" "libclang-rt-14-dev")

has_debian() { command -v dpkg-query >/dev/null && command -v apt-get >/dev/null; }

is_there() {  # PACKAGE PROBE
  case $2 in
    python3:pip) python3 -m pip --version >/dev/null 2>&1 ;;
    *.h | *.hpp) echo "#include <$2>" | g++ -std=c++20 -fsyntax-only -x c++ - >/dev/null 2>&1 ;;
    *) command -v "$2" >/dev/null ;;
  esac
}

missing_packages() {  # PACKAGE PROBE lines
  local installed entry package probe
  if has_debian; then
    # A python3 with pip of the user's own is as good as Debian's, so those are asked for by what they do.
    installed=" $(dpkg-query -W -f '${db:Status-Status} ${Package}\n' 2>/dev/null |
      sed -n 's/^installed //p' | tr '\n' ' ') "
  fi
  for entry in "$@"; do
    read -r package probe <<<"$entry"
    if [[ ${probe:-} != python3* ]] && has_debian; then
      [[ $installed == *" $package "* ]] || echo "$package"
    elif [ -n "${probe:-}" ]; then
      is_there "$package" "$probe" || echo "$package"
    fi
  done
}

install_packages() {
  local missing
  mapfile -t missing < <(missing_packages "$@")
  [ ${#missing[@]} -gt 0 ] || return 0
  if has_debian && [ "$(id -u)" = 0 ]; then
    echo "setup: installing ${#missing[@]} Debian packages: ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    # unsafe-io leaves out a flush for each file, most of the time this takes; one flush at the end does the same.
    local options=(-qq -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -o Acquire::Languages=none
      -o APT::Install-Recommends=false -o Dpkg::Options::=--force-unsafe-io)
    dpkg --configure -a >/dev/null  # an installation that was interrupted is ended first
    { apt-get "${options[@]}" update && apt-get "${options[@]}" -y -f install "${missing[@]}" >/dev/null; } ||
      { printf 'lowbit: setup: apt-get could not install %s; its own lines above say why\n' "${missing[*]}" >&2
        exit 1; }
    sync
  elif has_debian; then
    die "missing: ${missing[*]}; run as root: apt-get install --no-install-recommends ${missing[*]}"
  else
    die "missing (by their Debian names): ${missing[*]};" \
      "install them with this system's package manager and run this again"
  fi
}

# ---- libtorch: include/ and the libraries that libtorch_cpu needs, in one folder that appears whole or not at all ----
wheel() {  # PACKAGE==VERSION FOLDER: the wheel's path is in $wheel_path; one that lies there already is taken
  local requirement=$1 folder=$2 try
  wheel_path=$(compgen -G "$folder/*.whl" || true)
  [ -z "$wheel_path" ] || return 0
  # The tag of Debian 12's Python, whatever Python runs pip: the libraries inside do not care.
  local options=(--no-deps --only-binary=:all: --python-version 311 --implementation cp --no-cache-dir --no-input
    --disable-pip-version-check --dest "$folder.part")
  local glibc
  for glibc in $(seq 36 -1 17); do options+=(--platform "manylinux_2_${glibc}_x86_64"); done
  options+=(--platform manylinux2014_x86_64 --platform linux_x86_64)
  [ -t 2 ] || options+=(--quiet)
  for try in 1 2; do
    rm -rf "$folder.part"
    mkdir -p "$folder.part/tmp"
    if TMPDIR=$folder.part/tmp PIP_ROOT_USER_ACTION=ignore python3 -m pip download "${options[@]}" \
      "$requirement" >&2; then
      rm -rf "$folder.part/tmp" "$folder"
      mv -T "$folder.part" "$folder"
      wheel_path=$(compgen -G "$folder/*.whl" || true)
      [ -n "$wheel_path" ] && return 0
    fi
    [ "$try" = 2 ] || echo "setup: the download of $requirement failed; trying again" >&2
    sleep "$try"
  done
  rm -rf "$folder.part"
  printf 'lowbit: setup: %s could not be downloaded with pip; its own lines above say why. %s\n' "$requirement" \
    'Mend that and run this again, or give a libtorch with --libtorch DIR, or leave training out with --no-train' >&2
  exit 1
}

# WHEEL FOLDER PATTERN...: files whose path in the wheel matches go to FOLDER/{include,lib}; checksums are checked
unpack() {
  python3 - "$@" <<'PYTHON'
import fnmatch, os, shutil, sys, zipfile
wheel, folder, patterns = sys.argv[1], sys.argv[2], sys.argv[3:]
with zipfile.ZipFile(wheel) as archive:
    for entry in archive.infolist():
        if entry.is_dir() or not any(fnmatch.fnmatchcase(entry.filename, p) for p in patterns):
            continue
        if entry.filename.startswith("torch/include/"):
            target = os.path.join(folder, entry.filename[len("torch/"):])
        else:
            target = os.path.join(folder, "lib", os.path.basename(entry.filename))
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with archive.open(entry) as source, open(target, "wb") as out:
            shutil.copyfileobj(source, out, 1 << 20)
PYTHON
}

list_files() { (cd "$1" && find lib include -type f -printf '%s %p\n' | LC_ALL=C sort); }

libtorch_is_whole() {  # FOLDER: every file that the stamp names is there with its size
  [ -f "$1/files.txt" ] && [ -f "$1/lib/libtorch_cpu.so" ] && cmp -s <(list_files "$1") "$1/files.txt"
}

check_libtorch() {  # FOLDER that the user names
  if [ ! -f "$1/lib/libtorch_cpu.so" ] || [ ! -f "$1/lib/libc10.so" ]; then
    die "$1 holds no lib/libtorch_cpu.so and lib/libc10.so; name the folder that has lib/ and include/ of libtorch"
  fi
  [ -d "$1/include/torch" ] || die "$1 has libtorch's libraries and no include/torch; name the folder that has both"
  local header found=''
  for header in torch/headeronly/version.h torch/csrc/api/include/torch/version.h; do
    [ -f "$1/include/$header" ] || continue
    found=$(sed -nE 's/^#define TORCH_VERSION_(MAJOR|MINOR|PATCH) ([0-9]+).*/\2/p' "$1/include/$header" | paste -sd.)
    [ -z "$found" ] || break
  done
  [ "$found" = "$version" ] ||
    echo "setup: note: lowbit is made for libtorch $version, and $1 holds ${found:-an unknown version}" >&2
}

use_own() {
  [ -d "$1" ] || die "--libtorch $1: there is no such folder"
  local folder
  folder=$(cd "$1" && pwd -P)
  check_libtorch "$folder"
  mkdir -p "$cache"
  if [ -d "$final" ] && [ ! -L "$final" ]; then
    [ "$folder" != "$(cd "$final" && pwd -P)" ] || return 0
    rm -rf "$final.fetched"
    mv -T "$final" "$final.fetched"
  fi
  ln -sfn "$folder" "$final"
  echo "setup: libtorch is taken from $folder (scripts/setup.sh --fetch-libtorch goes back)"
}

fetch_libtorch() {
  [ "$(uname -m)" = x86_64 ] ||
    die "libtorch is fetched for x86-64 only, and this is $(uname -m); use --libtorch DIR or --no-train"
  mkdir -p "$cache" || die "$cache cannot be made; set LOWBIT_CACHE to a folder that can be written"
  if command -v flock >/dev/null; then
    exec 9>"$cache/.setup.lock"
    flock -n 9 || { echo "setup: waiting for another setup.sh" >&2; flock 9; }
  fi
  # Made whole by another setup.sh while this one waited, or put there by hand without the stamp, or damaged.
  libtorch_is_whole "$final" && return 0
  local free_kb part=$final.part wheels=$cache/wheels.part
  free_kb=$(df -Pk "$cache" | awk 'NR == 2 {print $4}')
  [ "$free_kb" -gt 2000000 ] ||
    die "$cache has $((free_kb / 1000)) MB free and fetching libtorch needs 2,000;" \
      "free some, or set LOWBIT_CACHE to another disk"
  rm -rf "$part"
  mkdir -p "$part" "$wheels"
  echo "setup: fetching libtorch $version (540 MB to download, 510 MB kept in $final)"
  local wheel_path
  wheel "torch==$version" "$wheels/torch"
  unpack "$wheel_path" "$part" 'torch/include/*' 'torch/lib/libtorch_cpu.so' 'torch/lib/libc10.so' \
    '*/libgomp*.so*' '*/libgfortran*.so*' '*/libquadmath*.so*' '*/libarm_compute*.so*'
  local needs
  needs=$(readelf -d "$part/lib/libtorch_cpu.so")
  if [[ $needs == *libcudart.so.13* ]]; then
    wheel 'nvidia-cuda-runtime==13.2.*' "$wheels/cudart"
    unpack "$wheel_path" "$part" '*/lib/libcudart.so.13'
  fi
  if [[ $needs == *libcupti.so.13* ]]; then
    wheel 'nvidia-cuda-cupti==13.2.*' "$wheels/cupti"
    unpack "$wheel_path" "$part" '*/lib/libcupti.so.13'
  fi
  check_libtorch "$part"
  list_files "$part" >"$part/files.txt"
  sync -f "$part" 2>/dev/null || true
  rm -rf "$final"
  mv -T "$part" "$final"
  rm -rf "$wheels"
}

[ "$docs" = 0 ] || packages+=("${docs_packages[@]}")
[ "$fuzz" = 0 ] || packages+=("${fuzz_packages[@]}")
if [ "$train" = 0 ]; then
  install_packages "${packages[@]}"
  exit 0
fi
if [ "$fetch" = 1 ] && [ -L "$final" ]; then
  rm "$final"
  [ ! -d "$final.fetched" ] || mv -T "$final.fetched" "$final"
fi
[ ! -L "$final" ] || [ -e "$final" ] || rm "$final"  # a link to a folder that is gone
if [ -n "$own" ]; then
  install_packages "${packages[@]}"
  use_own "$own"
elif [ -n "${LOWBIT_LIBTORCH:-}" ]; then
  install_packages "${packages[@]}"
  check_libtorch "$LOWBIT_LIBTORCH"
elif [ -L "$final" ]; then
  install_packages "${packages[@]}"
  check_libtorch "$final"
elif libtorch_is_whole "$final"; then
  install_packages "${packages[@]}"
else
  install_packages "${packages[@]}" "${python_packages[@]}"
  fetch_libtorch
fi
