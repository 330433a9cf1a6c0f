#include "lowbit/kernels/offsets.h"

#include <algorithm>

#include "lowbit/base/aligned.h"
#include "lowbit/kernels/offset_rows.h"

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
  const OffsetForms& form = offset_forms();
  const auto add = [&](std::size_t task) {
    for (std::size_t row = task * rows; row < std::min(m, (task + 1) * rows); ++row) {
      form.add_scaled(n, factor(row), of, y + row * y_stride);
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
  const OffsetForms& form = offset_forms();
  const std::size_t at_once = std::max<std::size_t>(1, kValues / std::max<std::size_t>(n, 1));
  executor.parallel_for((rows + at_once - 1) / at_once, [&](std::size_t task) {
    for (std::size_t row = task * at_once; row < std::min(rows, (task + 1) * at_once); ++row) {
      const float part = form.dot(n, dy + row * n, w_offset);
      for (std::size_t j = row * k; j < (row + 1) * k; ++j) x[j] += part;
    }
  });
}

void column_sums(Executor& executor, std::size_t rows, std::size_t columns, const float* x, double* of) {
  constexpr std::size_t kRows = 64;
  const std::size_t chunks = (rows + kRows - 1) / kRows;
  static thread_local Buffer<float> partial;
  partial.resize(chunks * columns);
  float* const sums = partial.data();
  const OffsetForms& form = offset_forms();
  executor.parallel_for(chunks, [&](std::size_t chunk) {
    float* const own = sums + chunk * columns;
    std::fill_n(own, columns, 0.0f);
    for (std::size_t row = chunk * kRows; row < std::min(rows, (chunk + 1) * kRows); ++row)
      form.add_scaled(columns, 1, x + row * columns, own);
  });
  std::fill_n(of, columns, 0.0);
  for (std::size_t chunk = 0; chunk < chunks; ++chunk)
    for (std::size_t j = 0; j < columns; ++j) of[j] += static_cast<double>(sums[chunk * columns + j]);
}

}  // namespace lowbit::kernels
