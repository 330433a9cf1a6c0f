#!/usr/bin/env bash
# Draws the pages of the study (docs/lab/study) from its CSV files: one HTML page for each table.
#
# Usage: scripts/study.sh [--out DIR] [--programs DIR]
#   --out DIR        where the pages go (default out/study)
#   --programs DIR   holds `lowbit` (default build)
set -euo pipefail
die() { printf 'lowbit: study: %s\n' "$*" >&2; exit 2; }
out='' programs=''
while [ $# -gt 0 ]; do
  case $1 in
    --out | --programs)
      [ $# -ge 2 ] || die "$1 takes a folder"
      folder=$2
      case $folder in /*) ;; *) folder=$PWD/$folder ;; esac
      if [ "$1" = --out ]; then out=$folder; else programs=$folder; fi
      shift ;;
    -h | --help) sed -n '2,/^set -e/{/^set -e/d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
    *) die "unknown argument '$1'; --help lists them" ;;
  esac
  shift
done
cd "$(dirname "$0")/.."
out=${out:-out/study}
lowbit=${programs:-build}/lowbit
[ -x "$lowbit" ] || die "there is no $lowbit; build it with scripts/build.sh lowbit"
mkdir -p "$out"

page() {  # NAME TITLE [FLAG...]: NAME.csv to NAME.html
  local name=$1 title=$2
  shift 2
  "$lowbit" report "docs/lab/study/$name.csv" --out "$out/$name.html" --title "$title" "$@"
}
page best "best against quest" --label recipe --label lr
page recipes "Rates, gains, QK-norm and batches" --label lr --label batch
page estimators "Estimators and rotations" --label lr
page grid "Bits of weights by bits of activations"
page scales "Scales and damping"
page scale_groups "Scales for groups of columns"
page trust "Outer trust, beta2 and weight decay" --label outer-trust --label beta2 --label weight-decay
page depth "Six blocks"
page backward "8-bit backward products"
page bits "Formats by layer"
page law "Sizes"
page law_4m "Sizes at 4.2 M tokens, and a loss predicted beforehand"
page law_lengths "Lengths"
# A table that is new has its line above.
for table in docs/lab/study/*.csv; do
  [ -f "$out/$(basename "$table" .csv).html" ] || die "$table has no page; add a line to scripts/study.sh"
done
