#pragma once
#include <algorithm>
#include <cstddef>

#include "lowbit/base/executor.h"

namespace lowbit::kernels {

/// Rows of k values that one task takes: some 16 thousand values, which is long against the cost of handing them out,
/// short against a batch, and stays in L2.
constexpr std::size_t rows_per_task(std::size_t k) {
  return std::max<std::size_t>(1, 16384 / std::max<std::size_t>(1, k));
}

/// task(begin, end) over ranges of rows of about k values: one row is never spread.
template <class F>
void for_rows(Executor& executor, std::size_t rows, std::size_t k, F&& task) {
  const std::size_t at_once = rows_per_task(k);
  executor.parallel_for((rows + at_once - 1) / at_once,
                        [&](std::size_t index) { task(index * at_once, std::min(rows, (index + 1) * at_once)); });
}

}  // namespace lowbit::kernels
