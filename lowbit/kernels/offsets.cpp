#include "lowbit/kernels/offsets.h"

#include <algorithm>

namespace lowbit::kernels {
namespace {
constexpr std::size_t kValues = std::size_t{1} << 15;  // of a task: much more than handing it out costs
}

void value_sums(const Grid& grid, std::size_t rows, std::size_t k, const std::int32_t* u_sum, const float* scale, float* of) {
  for (std::size_t i = 0; i < rows; ++i) {
    const std::int64_t levels = std::int64_t{grid.multiplier()} * u_sum[i] + static_cast<std::int64_t>(k) * grid.value_of_code(0);
    of[i] = static_cast<float>(static_cast<std::int32_t>(levels)) * scale[i];
  }
}

void add_offset(Executor& executor, std::size_t m, std::size_t n, float offset, const float* w_sum, float* y, std::size_t y_stride) {
  const std::size_t rows = std::max<std::size_t>(1, kValues / std::max<std::size_t>(n, 1));
  const auto add = [&](std::size_t task) {
    for (std::size_t row = task * rows; row < std::min(m, (task + 1) * rows); ++row)
      for (std::size_t i = 0; i < n; ++i) y[row * y_stride + i] += offset * w_sum[i];
  };
  const std::size_t tasks = (m + rows - 1) / rows;
  if (tasks == 1) return add(0);
  executor.parallel_for(tasks, add);
}

void column_sums(Executor& executor, std::size_t rows, std::size_t columns, const float* x, double* of) {
  constexpr std::size_t kColumns = 64;
  executor.parallel_for((columns + kColumns - 1) / kColumns, [&](std::size_t task) {
    const std::size_t begin = task * kColumns, end = std::min(columns, begin + kColumns);
    std::fill(of + begin, of + end, 0.0);
    for (std::size_t row = 0; row < rows; ++row)
      for (std::size_t j = begin; j < end; ++j) of[j] += static_cast<double>(x[row * columns + j]);
  });
}

}  // namespace lowbit::kernels
