#include <algorithm>
#include <cassert>
#include <cmath>
#include <utility>

#include "lowbit/base/aligned.h"
#include "lowbit/kernels/backward_form.h"
#include "lowbit/kernels/backward_tiles.h"
#include "lowbit/kernels/code_rows.h"
#include "lowbit/kernels/offset_rows.h"
#include "lowbit/kernels/reference_backward.h"
#include "lowbit/kernels/row_tasks.h"

namespace lowbit::kernels {
void rms_norm_backward(Executor& executor, std::size_t rows, std::size_t k, const float* x, const float* weight,
                       const float* inv, const float* dy, const float* base, float* dx, float* dweight,
                       const BeforeRows& before) {
  // dweight is summed per chunk of rows, then over the chunks in order: at most 64 of them, of 32 rows or more.
  static thread_local Buffer<float> partial;
  const BackwardForm& form = backward_form(Precision::f32);
  const std::size_t chunk = std::max<std::size_t>(32, ceil_div(rows, 64)), chunks = ceil_div(rows, chunk);
  const std::size_t stride = (k + 15) / 16 * 16;
  partial.resize(chunks * stride);
  float* const sums = partial.data();
  executor.parallel_for(chunks, [&](std::size_t c) {
    float* const sum = sums + c * stride;
    std::fill_n(sum, k, 0.0f);
    const std::size_t end = std::min(rows, (c + 1) * chunk), at_once = rows_per_task(k);
    for (std::size_t first = c * chunk; first < end; first += at_once) {
      const std::size_t count = std::min(at_once, end - first), at = first * k;
      if (before) before(first, count);
      form.rms_norm_rows(count, k, x + at, weight, inv + first, dy + at, base ? base + at : nullptr, dx + at, sum);
    }
  });
  for (std::size_t c = 0; c < chunks; ++c) form.add(k, sums + c * stride, dweight);
}

void swiglu_backward(Executor& executor, std::size_t rows, std::size_t k, const float* gate, const float* up,
                     std::size_t stride, const float* dy, float* dgate, float* dup, std::size_t dstride,
                     const BeforeRows& before) {
  const BackwardForm& form = backward_form(Precision::f32);
  // Results that will have left the caches before they are read need not be fetched to be overwritten.
  constexpr std::size_t kPastCaches = std::size_t{4} << 20, kLine = 64;
  const auto on_lines = [&](const float* x) { return reinterpret_cast<std::uintptr_t>(x) % kLine == 0; };
  const bool past_caches = 2 * rows * k * sizeof(float) > kPastCaches && on_lines(dgate) && on_lines(dup) &&
                           dstride * sizeof(float) % kLine == 0;
  for_rows(executor, rows, k, [&](std::size_t first, std::size_t end) {
    const std::size_t count = end - first;
    if (before) before(first, count);
    form.swiglu_rows(count, k, gate + first * stride, up + first * stride, stride, dy + first * k,
                     dgate + first * dstride, dup + first * dstride, dstride, past_caches);
  });
}

namespace {
// Two sums of each row of k values, over rows in double, in their order.
template <class Row>
std::pair<double, double> sums_of_rows(Executor& executor, std::size_t rows, std::size_t k, Row&& of_row) {
  static thread_local Buffer<float> partial;
  partial.resize(2 * rows);
  float* const sums = partial.data();
  for_rows(executor, rows, k, [&](std::size_t begin, std::size_t end) {
    for (std::size_t r = begin; r < end; ++r) {
      const RowSums row = of_row(r);
      sums[2 * r] = row.step;
      sums[2 * r + 1] = row.offset;
    }
  });
  std::pair<double, double> sum{0, 0};
  for (std::size_t r = 0; r < rows; ++r) {
    sum.first += static_cast<double>(sums[2 * r]);
    sum.second += static_cast<double>(sums[2 * r + 1]);
  }
  return sum;
}
}  // namespace

namespace {
/// x H of one row in this thread's memory, or x itself where it is not rotated.
const float* rotated_row(int group, std::size_t k, const float* x) {
  if (group == 1) return x;
  static thread_local Buffer<float> row;
  row.resize(k);
  SerialExecutor here;
  rotate_rows(here, group, 1, k, x, k, row.data(), k);
  return row.data();
}
}  // namespace

StepGradients step_gradient(Executor& executor, int group, const Grid& grid, float step, float offset,
                            bool clamped_only, std::size_t rows, std::size_t k, const float* g, const float* x,
                            const std::uint8_t* codes) {
  const OffsetForms& form = offset_forms();
  const float unit = grid.zero_is_level ? 1.0f : 0.5f;
  StepRow row{nullptr,
              nullptr,
              nullptr,
              k,
              offset,
              1.0f / step,
              reference::step_edge<float>(grid) * std::abs(step),
              unit * static_cast<float>(grid.multiplier()),
              unit * static_cast<float>(grid.value_of_code(0)),
              clamped_only};
  const std::pair<double, double> sum = sums_of_rows(executor, rows, k, [&](std::size_t r) {
    StepRow own = row;
    own.g = g + r * k;
    own.x = rotated_row(group, k, x + r * k);
    own.codes = codes + r * code_stride(k);
    return form.step(own);
  });
  return {sum.first, sum.second};
}

AdabinGradients adabin_input(Executor& executor, int group, float alpha, float offset, std::size_t rows, std::size_t k,
                             float* g, const float* x) {
  const OffsetForms& form = offset_forms();
  const std::pair<double, double> sum = sums_of_rows(executor, rows, k, [&](std::size_t r) {
    return form.adabin(k, alpha, offset, rotated_row(group, k, x + r * k), g + r * k);
  });
  return {sum.first, sum.second};
}

void adabin_weights(Executor& executor, const float* alpha, std::size_t rows, std::size_t k, float* g, const float* x) {
  executor.parallel_for(rows, [&](std::size_t r) {
    reference::adabin_weight_row<float>({g + r * k, k}, {x + r * k, k}, alpha[r]);
  });
}

void scale_values(Executor& executor, std::size_t n, float factor, const float* x, float* y) {
  constexpr std::size_t kChunk = std::size_t{1} << 16;
  executor.parallel_for(ceil_div(n, kChunk), [&](std::size_t c) {
    for (std::size_t i = c * kChunk; i < std::min(n, (c + 1) * kChunk); ++i) y[i] = factor * x[i];
  });
}

namespace {
template <class Value>
double dot_of(std::size_t n, Value&& value, const float* y) {
  constexpr std::size_t kSums = 16;
  double sums[kSums] = {};
  std::size_t i = 0;
  for (; i + kSums <= n; i += kSums)
    for (std::size_t j = 0; j < kSums; ++j) sums[j] += static_cast<double>(value(i + j) * y[i + j]);
  for (; i < n; ++i) sums[i % kSums] += static_cast<double>(value(i) * y[i]);
  double sum = 0;
  for (const double s : sums) sum += s;
  return sum;
}
}  // namespace

double dot_values(std::size_t n, const float* x, const float* y) {
  return dot_of(n, [x](std::size_t i) { return x[i]; }, y);
}

double dot_codes(const Grid& grid, std::size_t n, const std::uint8_t* codes, const float* y) {
  return dot_of(n, [&](std::size_t i) { return static_cast<float>(grid.value(codes[i])); }, y);
}

void embedding_backward(Executor& executor, std::size_t rows, std::size_t k, const std::int32_t* ids, const float* dy,
                        float* dtable) {
  constexpr std::size_t kColumns = 64;  // two tasks never write to the same cache line of an aligned table
  const BackwardForm& form = backward_form(Precision::f32);
  executor.parallel_for(ceil_div(k, kColumns), [&](std::size_t task) {
    const std::size_t begin = task * kColumns, count = std::min(kColumns, k - begin);
    for (std::size_t i = 0; i < rows; ++i) {
      assert(ids[i] >= 0);
      form.add(count, dy + i * k + begin, dtable + static_cast<std::size_t>(ids[i]) * k + begin);
    }
  });
}

double sum_of_squares(Executor& executor, std::size_t n, const float* x) {
  constexpr std::size_t kChunk = 16384;
  static thread_local Buffer<double> partial;
  const BackwardForm& form = backward_form(Precision::f32);
  const std::size_t chunks = ceil_div(n, kChunk);
  partial.resize(chunks);
  double* const sums = partial.data();
  executor.parallel_for(
      chunks, [&](std::size_t c) { sums[c] = form.sum_of_squares(std::min(kChunk, n - c * kChunk), x + c * kChunk); });
  double sum = 0;
  for (std::size_t c = 0; c < chunks; ++c) sum += sums[c];
  return sum;
}

}  // namespace lowbit::kernels
