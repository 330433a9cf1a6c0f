#!/usr/bin/env bash
# Builds the documentation as a static site into out/site, with Debian's mkdocs (`scripts/setup.sh --docs` installs it).
# Links are checked on the way: a broken one fails the build.
#
# Usage: scripts/docs.sh [--out DIR] [--verbs]
#   --out DIR   folder of the site (out/site)
#   --verbs     write docs/reference/verbs.md from build/lowbit instead, and build no site
set -euo pipefail
cd "$(dirname "$0")/.."
die() { printf 'lowbit: docs: %s\n' "$*" >&2; exit 2; }

out=out/site verbs=0
while [ $# -gt 0 ]; do
  case $1 in
    --out) [ $# -ge 2 ] || die "--out takes a folder"; out=$2; shift ;;
    --out=?*) out=${1#*=} ;;
    --verbs) verbs=1 ;;
    -h | --help) sed -n '2,/^set -e/{/^set -e/d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
    *) die "unknown flag '$1'; --help lists them" ;;
  esac
  shift
done

if [ "$verbs" = 1 ]; then
  [ -x build/lowbit ] && [ -x build/lowbit-train ] ||
    die "build/lowbit and build/lowbit-train are not there; scripts/build.sh makes them"
  python3 tests/docs/verbs.py docs/reference/verbs.md build/lowbit --write
  exit 0
fi

command -v mkdocs >/dev/null || die "mkdocs is not installed; scripts/setup.sh --docs installs it"
python3 tests/docs/check_links.py .
# Beside the final place and renamed, so that a broken build leaves the last good one.
part=$out.part
rm -rf "$part"
mkdir -p "$(dirname "$out")"
mkdocs build --quiet --strict --site-dir "$(realpath -m "$part")"
rm -rf "$out"
mv -T "$part" "$out"
echo "the site is in $out: open $out/index.html (searching needs a server: python3 -m http.server --directory $out)"
