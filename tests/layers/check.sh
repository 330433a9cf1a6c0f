#!/usr/bin/env bash
# What the compiler cannot see of the layers that docs/explain/tour.md draws:
#   no include climbs with "..", or names one of our headers without its folder;
#   each #include "lowbit/X/..." follows the arrows below;
#   torch/, ATen/ and c10/ stand only in the folders that may see torch;
#   the programs and test programs given link libtorch only if their folder may (--no-torch PROGRAM...).
# Usage: check.sh ROOT [--no-torch PROGRAM...]     prints each breach with file and line; exit code 1 if there is any.
set -euo pipefail
root=$1
shift
[ "${1:-}" = --no-torch ] && shift

# What a folder may include; what those may, it may too.
declare -A arrows=(
  [base]="" [machine]="base" [formats]="base" [kernels]="formats machine" [files]="formats" [text]="files"
  [model]="files" [nn]="model kernels" [run]="nn" [eval]="model text" [serve]="run text" [interop]="model text"
  [report]="files" [laws]="base" [study]="report laws machine" [autograd]="nn"
  [train]="autograd run eval report laws bench" [dist]="train"
  [compress]="run eval" [bench]="run" [compress_tune]="compress"
  [cli]="bench train dist compress_tune serve interop study"
)
sees_torch=" autograd train dist compress_tune "

declare -A reach
reach_of() {
  [ -n "${reach[$1]+set}" ] && return
  local all=" $1 " next
  for next in ${arrows[$1]}; do
    reach_of "$next"
    all+="${reach[$next]}"
  done
  reach[$1]=$all
}
for folder in "${!arrows[@]}"; do reach_of "$folder"; done

breaches=0
breach() {
  printf '%s\n' "$*"
  breaches=$((breaches + 1))
}

cd "$root"
for path in lowbit/*/; do
  folder=$(basename "$path")
  [ -n "${arrows[$folder]+set}" ] ||
    breach "lowbit/$folder: a folder without arrows; give it its line in tests/layers/check.sh"
done

folders=()
for folder in lowbit tests bench; do [ -d "$folder" ] && folders+=("$folder"); done
while IFS=: read -r file line text; do
  [[ $text =~ [\"\<]([^\"\>]+)[\"\>] ]] || continue  # an include of a macro names no file here
  name=${BASH_REMATCH[1]}
  case $file in
    lowbit/*/*) folder=${file#lowbit/} && folder=${folder%%/*} ;;
    *) folder= ;;  # tests and benchmarks may see every module
  esac
  case $name in
    ../* | */../*) breach "$file:$line: an include climbs with '..': $name" ;;
    torch/* | ATen/* | c10/*)
      case $file in
        lowbit/*) [[ $sees_torch == *" $folder "* ]] || breach "$file:$line: lowbit/$folder may not see torch: $name" ;;
        tests/autograd/* | tests/train/* | tests/dist/* | tests/compress_tune/*) ;;
        bench/*) [[ ${file##*/} == *train* || ${file##*/} == *torch* ]] ||
          breach "$file:$line: only benchmarks named for train or torch may see torch: $name" ;;
        *) breach "$file:$line: only tests of folders that may see torch see it: $name" ;;
      esac
      ;;
    lowbit/*)
      target=${name#lowbit/} && target=${target%%/*}
      if [ -n "$folder" ] && [[ ${reach[$folder]:-} != *" $target "* ]]; then
        breach "$file:$line: lowbit/$folder may not include from lowbit/$target: $name"
      fi
      ;;
    *)
      # A quoted name without its folder works by accident of where the file lies.
      if [ -n "$folder" ] && [[ $text == *'"'* ]] && [ -e "${file%/*}/$name" ]; then
        breach "$file:$line: write the whole name, ${file%/*}/$name: $name"
      fi
      ;;
  esac
done < <(grep -rnE '^[[:space:]]*#[[:space:]]*(include|import)' --include='*.h' --include='*.cpp' --include='*.inc' \
  --include='*.cu' --include='*.hpp' --include='*.cc' "${folders[@]}" || true)

for program in "$@"; do
  if [ ! -e "$program" ]; then
    breach "$program: not there, so what it links was not looked at"
  elif ! needs=$(readelf -d "$program"); then
    breach "$program: readelf cannot read it"
  elif grep -E 'NEEDED.*(libtorch|libc10)' <<<"$needs"; then
    breach "$program: links libtorch"
  fi
done

[ "$breaches" -eq 0 ] || { echo "$breaches breach(es) of the layers"; exit 1; }
