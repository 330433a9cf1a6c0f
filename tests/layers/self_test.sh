#!/usr/bin/env bash
# The checker must see each kind of breach: a small tree that is clean, then one breach at a time.
# Usage: self_test.sh CHECKER PROGRAM_WITHOUT_TORCH
set -euo pipefail
checker=$1
program=$2
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
failures=0

fresh() {
  rm -rf "$tree"
  mkdir -p "$tree"/lowbit/{base,kernels,nn,run,train,cli} "$tree"/tests/nn "$tree"/tests/train
  echo '#pragma once' >"$tree/lowbit/base/error.h"
  echo '#include "lowbit/base/error.h"' >"$tree/lowbit/kernels/dot.h"
  printf '#include <vector>\n#include "lowbit/kernels/dot.h"\n' >"$tree/lowbit/nn/linear.cpp"
  printf '#include <torch/types.h>\n#include "lowbit/nn/linear.h"\n' >"$tree/lowbit/train/loop.cpp"
  echo '#include "lowbit/train/loop.h"' >"$tree/lowbit/cli/train_command.cpp"
  echo '#include "lowbit/nn/linear.h"' >"$tree/tests/nn/linear_test.cpp"
  echo '#include <ATen/ATen.h>' >"$tree/tests/train/loop_test.cpp"
}

clean() {
  if ! output=$("$checker" "$tree" "$@" 2>&1); then
    echo "a clean tree is refused: $output"
    failures=$((failures + 1))
  fi
}

# refused FILE LINE PART: with LINE added to FILE the checker fails and its message holds FILE and PART.
refused() {
  fresh
  mkdir -p "$tree/$(dirname "$1")"
  echo "$2" >>"$tree/$1"
  if output=$("$checker" "$tree" 2>&1); then
    echo "not seen: $1: $2"
    failures=$((failures + 1))
  elif [[ $output != *"$1"*"$3"* ]]; then
    echo "seen, but not told: $1: $2: $output"
    failures=$((failures + 1))
  fi
}

fresh
clean
clean --no-torch "$program"
refused lowbit/nn/linear.cpp '#include "../base/error.h"' "climbs"
refused lowbit/nn/linear.cpp '#include "lowbit/nn/../base/error.h"' "climbs"
refused lowbit/kernels/dot.h '#include "lowbit/nn/linear.h"' "lowbit/kernels may not include from lowbit/nn"
refused lowbit/run/engine.cpp '  #  include "lowbit/train/loop.h"' "lowbit/run may not include from lowbit/train"
refused lowbit/run/engine.cpp '#include <torch/torch.h>' "may not see torch"
refused lowbit/nn/linear.cpp '#include <ATen/ATen.h>' "may not see torch"
refused lowbit/cli/run_command.cpp '#include <c10/util/Half.h>' "may not see torch"
refused tests/nn/linear_test.cpp '#include <torch/torch.h>' "see torch"
refused lowbit/base/error.cpp '#include "error.h"' "whole name"
refused lowbit/extra/new.cpp '#include "lowbit/base/error.h"' "lowbit/extra may not include from lowbit/base"

fresh
if "$checker" "$tree" --no-torch "$tree/none" >/dev/null 2>&1; then
  echo "a program that is not there passes"
  failures=$((failures + 1))
fi
# A program that names libtorch, made by hand: an empty library of that name is enough.
if command -v cc >/dev/null; then
  echo 'int x;' | cc -x c - -shared -fPIC -Wl,-soname,libtorch_cpu.so -o "$tree/libtorch_cpu.so"
  echo 'extern int x; int main() { return x; }' | cc -x c - -x none "$tree/libtorch_cpu.so" -o "$tree/program"
  if "$checker" "$tree" --no-torch "$tree/program" >/dev/null 2>&1; then
    echo "a program that links libtorch passes"
    failures=$((failures + 1))
  fi
fi
[ "$failures" -eq 0 ]
