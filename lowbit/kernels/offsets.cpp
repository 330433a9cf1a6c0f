#include "lowbit/kernels/offsets.h"

#include <algorithm>

namespace lowbit::kernels {
namespace {
constexpr std::size_t kValues = std::size_t{1} << 15;  // of a task: much more than handing it out costs
}

void value_sums(const Grid& grid, std::size_t rows, std::size_t k, const std::int32_t* u_sum, const float* scale,
                float* of) {
  for (std::size_t i = 0; i < rows; ++i) {
    const std::int64_t levels =
        std::int64_t{grid.multiplier()} * u_sum[i] + static_cast<std::int64_t>(k) * grid.value_of_code(0);
    of[i] = static_cast<float>(static_cast<std::int32_t>(levels)) * scale[i];
  }
}

namespace {
// y[m][n] += factor(m) * of[n].
template <class Factor>
void add_outer(Executor& executor, std::size_t m, std::size_t n, Factor&& factor, const float* of, float* y,
               std::size_t y_stride) {
  const std::size_t rows = std::max<std::size_t>(1, kValues / std::max<std::size_t>(n, 1));
  const auto add = [&](std::size_t task) {
    for (std::size_t row = task * rows; row < std::min(m, (task + 1) * rows); ++row) {
      const float by = factor(row);
      for (std::size_t i = 0; i < n; ++i) y[row * y_stride + i] += by * of[i];
    }
  };
  const std::size_t tasks = (m + rows - 1) / rows;
  if (tasks == 1) return add(0);
  executor.parallel_for(tasks, add);
}
}  // namespace

void add_offset(Executor& executor, std::size_t m, std::size_t n, float offset, const float* w_sum, float* y,
                std::size_t y_stride) {
  add_outer(
      executor, m, n, [offset](std::size_t) { return offset; }, w_sum, y, y_stride);
}

void add_row_offsets(Executor& executor, std::size_t m, std::size_t n, const float* x_sum, const float* w_offset,
                     float* y, std::size_t y_stride) {
  add_outer(
      executor, m, n, [x_sum](std::size_t row) { return x_sum[row]; }, w_offset, y, y_stride);
}

void add_row_dots(Executor& executor, std::size_t rows, std::size_t n, std::size_t k, const float* dy,
                  const float* w_offset, float* x) {
  executor.parallel_for(rows, [&](std::size_t row) {
    double sum = 0;
    for (std::size_t j = 0; j < n; ++j) sum += static_cast<double>(dy[row * n + j]) * static_cast<double>(w_offset[j]);
    const auto part = static_cast<float>(sum);
    for (std::size_t j = row * k; j < (row + 1) * k; ++j) x[j] += part;
  });
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
