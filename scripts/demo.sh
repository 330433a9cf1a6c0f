#!/usr/bin/env bash
# From a text to a low-bit language model that writes more of it: sets up, builds, trains a tokenizer and a w4a4 model,
# measures it, packs it and runs it. Repeat the command to go on after an interruption; what is done is not done again.
#
# Usage: scripts/demo.sh [--out DIR] [--size NAME] [--tokens N] [--prompt TEXT] [--threads N] [--no-setup] [TEXT_FILE]
#   TEXT_FILE     text to learn from (UTF-8; .xz, .zst and .gz too); without it the King James Bible of the Debian
#                 package bible-kjv
#   --out DIR     folder for everything (runs/demo, or runs/demo-NAME for a text file of that name)
#   --size NAME   size of the model, as `lowbit train --help` lists them (default 1m)
#   --tokens N    tokens to train on (default 2500000, two to three minutes on two cores)
#   --prompt TEXT what the trained model shall go on from
#   --threads N   threads (default: all)
#   --no-setup    neither packages nor libtorch are looked for
set -euo pipefail
started=$SECONDS
die() { printf 'lowbit: demo: %s\n' "$*" >&2; exit 2; }
value() { [ $# -ge 2 ] || die "$1 takes a value"; printf '%s' "$2"; }

text='' out='' size=1m tokens=2500000 prompt='' threads=0 setup=1
while [ $# -gt 0 ]; do
  case $1 in
    --out) out=$(value "$@"); shift ;;
    --size) size=$(value "$@"); shift ;;
    --tokens) tokens=$(value "$@"); shift ;;
    --prompt) prompt=$(value "$@"); shift ;;
    --threads) threads=$(value "$@"); shift ;;
    --no-setup) setup=0 ;;
    -h | --help) sed -n '2,/^set -e/{/^set -e/d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
    -*) die "unknown flag '$1'; --help lists them" ;;
    *) [ -z "$text" ] || die "one text file is taken, and '$text' and '$1' are given"; text=$1 ;;
  esac
  shift
done
# The caller's folder, before going to the checkout's.
absolute() { case $1 in /*) printf '%s' "$1" ;; *) printf '%s/%s' "$PWD" "$1" ;; esac; }
if [ -n "$text" ]; then
  [ -f "$text" ] || die "$text: there is no such file"
  [ -s "$text" ] || die "$text: the file is empty"
  text=$(absolute "$text")
fi
[ -z "$out" ] || out=$(absolute "$out")
cd "$(dirname "$0")/.."
if [ -z "$out" ]; then
  out=runs/demo
  [ -z "$text" ] || out=runs/demo-$(basename "${text%%.*}")
fi

step=0
say() { step=$((step + 1)); printf '\n== %d/8 %s\n' "$step" "$*"; }
show() {
  printf '$ lowbit'
  local word
  for word in "$@"; do
    if [[ $word =~ ^[A-Za-z0-9_./=:,+-]+$ ]]; then printf ' %s' "$word"; else printf ' %s' "${word@Q}"; fi
  done
  printf '\n'
}
lowbit() { show "$@"; ./build/lowbit "$@"; }

say "Set-up and build"
[ "$setup" = 0 ] || ./scripts/setup.sh
./scripts/build.sh lowbit lowbit-train

say "Text"
mkdir -p "$out"
if [ -z "$text" ]; then
  text=$out/bible.txt
  if [ ! -s "$text" ]; then
    command -v bible >/dev/null || die "the Debian package bible-kjv is not installed; install it, or name a text file"
    # "Ge1:1 In the beginning ...": the reference goes, a verse is a line, and a chapter is a document.
    bible -f Gen1:1-Rev22:21 | awk '{
      chapter = $1; sub(/:.*/, "", chapter)
      if (NR > 1 && chapter != last) print "<|endoftext|>"
      last = chapter; sub(/^[^ ]+ /, ""); print
    }' >"$text.part"
    mv "$text.part" "$text"
  fi
  [ -n "$prompt" ] || prompt="And the LORD said unto Moses,"
fi
[ -n "$prompt" ] || prompt="The"
bytes=$(stat -c %s "$text")
echo "$text: $bytes bytes"
# One folder holds one text's demo: going on with another text would mix them.
sum=$(sha256sum <"$text" | cut -c1-64)
if [ -f "$out/text.sha256" ]; then
  [ "$(cat "$out/text.sha256")" = "$sum" ] ||
    die "$out holds the demo of another text; name another folder with --out, or remove it"
else
  printf '%s\n' "$sum" >"$out/text.sha256"
fi
vocabulary=2048
[ "$bytes" -ge 1000000 ] || vocabulary=1024
[ "$bytes" -ge 200000 ] || vocabulary=512

say "Tokenizer: $vocabulary pieces"
[ -f "$out/tokenizer.model" ] || lowbit tokenizer train --in "$text" \
  --document-line '<|endoftext|>' --vocab "$vocabulary" --out "$out/tokenizer.model"

say "Data: text to tokens, some of it held out"
if [ ! -f "$out/data/.made" ]; then
  rm -rf "$out/data"
  lowbit data --in "$text" --document-line '<|endoftext|>' --tokenizer "$out/tokenizer.model" --out "$out/data"
  : >"$out/data/.made"
fi

say "Training: w4a4, 4-bit weights and 4-bit activations"
resume=()
if compgen -G "$out/run/checkpoints/step-*" >/dev/null; then resume=(--resume); else rm -rf "$out/run"; fi
lowbit train --data "$out/data" --out "$out/run" --format w4a4 --size "$size" --tokens "$tokens" --seed 1 \
  --threads "$threads" "${resume[@]}"

say "How good is it: bits per byte on the held-out part"
lowbit eval --model "$out/run" --data "$out/data" --threads "$threads"

say "Packed: the weights in 4 bits"
if [ ! -f "$out/packed/model.safetensors" ] || [ "$out/packed/model.safetensors" -ot "$out/run/metrics.jsonl" ]; then
  rm -rf "$out/packed"
  lowbit pack --model "$out/run" --out "$out/packed"
fi
lowbit inspect "$out/packed"

say "It writes"
for seed in 1 2 3; do
  lowbit run --model "$out/packed" --prompt "$prompt" --max-tokens 80 --temperature 0.8 --seed "$seed" \
    --threads "$threads"
  echo
done

cat <<END

Done in $((SECONDS - started)) s. The model is in $out/packed; go on with it:
  ./build/lowbit run --model $out/packed --prompt "..." --max-tokens 100
  $out/run/report.html shows how the training went.
END
