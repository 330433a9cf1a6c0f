#include "lowbit/nn/linear.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <numeric>

#include "lowbit/formats/layout.h"
#include "lowbit/kernels/offsets.h"
#include "lowbit/kernels/plane_product.h"
#include "lowbit/kernels/reference.h"
#include "lowbit/kernels/row_tasks.h"

namespace lowbit::nn {

using kernels::code_stride;
using kernels::mask_words;

namespace {
kernels::RowCoding row_coding(const SideCoding& side, int group) {
  return {side.grid,         group,
          side.trust,        side.scale,
          side.sparse_scale, static_cast<float>(side.step),
          side.shift,        static_cast<float>(side.offset)};
}

std::size_t slices_of(const model::TensorCoding& coding, std::size_t k) {
  return static_cast<std::size_t>(coding.weight.slices(static_cast<std::int64_t>(k)));
}
}  // namespace

kernels::RowCoding weight_coding(const model::TensorCoding& c) { return row_coding(c.weight, c.group); }
kernels::RowCoding input_coding(const model::TensorCoding& c) { return row_coding(c.input, c.input_group); }

kernels::CodedRows LinearWeights::coded() const {
  return {const_cast<std::uint8_t*>(codes_.data()), const_cast<float*>(scale_.data()),
          const_cast<std::int32_t*>(sum_.data()), mask_.empty() ? nullptr : const_cast<std::uint64_t*>(mask_.data()),
          offset_.empty() ? nullptr : const_cast<float*>(offset_.data())};
}

void LinearWeights::choose(Executor& executor, Purpose purpose) {
  const Kernel& kernel = kernel_for_weights(coding_.format, n_, k_, purpose, executor.threads(), slices() > 1);
  if (kernel_ != &kernel) {  // what lies there in another form is of no use
    code_panels_.clear();
    packed_panels_ = {};
    plane_panels_ = {};
    float_panels_.clear();
    bf16_panels_ = {};
  }
  kernel_ = &kernel;
}

void LinearWeights::make_code_panels(Executor& executor, const kernels::CodedRows& rows) {
  const Grid& grid = *coding_.format.weight;
  const auto of_slices = [&](auto& panels) {
    panels.resize(slices());
    for (std::size_t s = 0; s < slices(); ++s) {
      kernels::CodedRows from = rows;
      from.codes += s * code_stride(slice());
      from.scale += s;
      kernels::make_panels(executor, grid, n_, slice(), from, panels[s], slices());
    }
  };
  switch (kernel_->id) {
    case KernelId::codes: return of_slices(code_panels_);
    case KernelId::packed: kernels::make_panels(executor, grid, n_, k_, rows, packed_panels_); return;
    case KernelId::planes: kernels::make_plane_panels(executor, grid, n_, k_, rows, plane_panels_); return;
    case KernelId::floats: return of_slices(float_panels_);
    case KernelId::bf16: assert(false); return;
  }
}

// From sum_ and scale_.
void LinearWeights::sum_values() {
  value_sum_.resize(coding_.format.integer() && coding_.input.shift != Shift::none ? n_ : 0);
  if (!value_sum_.empty())
    kernels::value_sums(*coding_.format.weight, n_, k_, sum_.data(), scale_.data(), value_sum_.data());
}

void LinearWeights::set(Executor& executor, const model::TensorCoding& coding, std::size_t n, std::size_t k,
                        const float* weights, Keep keep) {
  coding_ = coding;
  n_ = n;
  k_ = k;
  choose(executor, keep.codes ? Purpose::train : Purpose::run);
  switch (coding.format.kind) {
    case Format::Kind::f32:
      float_panels_.resize(1);
      kernels::make_panels(executor, n, k, weights, float_panels_.front());
      return;
    case Format::Kind::bf16:
      if (coding.format.masked) {
        values_.resize(n * k);
        mask_.resize(n * mask_words(k));
        kernels::mask_pairs(executor, n, k, weights, values_.data(), mask_.data());
        weights = values_.data();
      }
      kernels::make_panels(executor, n, k, weights, bf16_panels_);
      if (!keep.codes) values_ = {};
      if (!keep.mask) mask_ = {};
      return;
    case Format::Kind::quantized:
      break;
  }
  if (!coding.format.weight) {
    values_.resize(n * k);
    mask_.resize(0);
    kernels::rotate_rows(executor, coding.group, n, k, weights, k, values_.data(), k);
    float_panels_.resize(1);
    kernels::make_panels(executor, n, k, values_.data(), float_panels_.front());
    if (!keep.codes) values_ = {};
    return;
  }
  codes_.resize(n * code_stride(k));
  const std::size_t rows_coded = n * slices();
  scale_.resize(rows_coded);
  sum_.resize(rows_coded);
  mask_.resize(keep.mask ? n * mask_words(k) : 0);
  offset_.resize(coding.weight.shift == Shift::mean ? n : 0);
  const kernels::CodedRows rows = coded();
  kernels::code_rows(executor, weight_coding(coding), rows_coded, slice(), weights, slice(), rows);
  make_code_panels(executor, rows);
  sum_values();
  if (!keep.codes) {
    codes_ = {};
    sum_ = {};
  }
}

void LinearWeights::set_coded(Executor& executor, const model::TensorCoding& coding, std::size_t n, std::size_t k,
                              std::span<const std::uint8_t> canonical, std::span<const float> scale,
                              std::span<const float> offset) {
  coding_ = coding;
  n_ = n;
  k_ = k;
  choose(executor, Purpose::run);
  const Grid& grid = *coding.format.weight;
  const std::size_t row_bytes = stored_row_bytes(grid, k);
  assert(canonical.size() == n * row_bytes && scale.size() == n * slices());
  scale_.resize(scale.size());
  std::copy(scale.begin(), scale.end(), scale_.begin());
  assert(offset.size() == (coding.weight.shift == Shift::mean ? n : 0));
  offset_.resize(offset.size());
  std::copy(offset.begin(), offset.end(), offset_.begin());
  const bool packed = kernel_->id == KernelId::packed;
  if (packed) kernels::make_panels(executor, grid, n, k, canonical, scale, packed_panels_);
  if (packed && coding.input.shift == Shift::none) {
    codes_ = {};
    sum_ = {};
    mask_ = {};
    return;
  }
  codes_.resize(n * code_stride(k));
  sum_.resize(n);
  mask_.resize(0);
  executor.parallel_for(n, [&](std::size_t row) {
    const std::span codes(codes_.data() + row * code_stride(k), k);
    unpack_stored(grid, canonical.subspan(row * row_bytes, row_bytes), codes);
    std::int32_t sum = 0;
    for (const std::uint8_t u : codes) sum += u;
    sum_[row] = sum;
  });
  if (!packed) make_code_panels(executor, coded());
  sum_values();
  codes_ = {};
  sum_ = {};
}

std::size_t LinearWeights::bytes() const {
  std::size_t total = packed_panels_.bytes() + 4 * (plane_panels_.data.size() + plane_panels_.scale.size()) +
                      2 * bf16_panels_.data.size() + 4 * (value_sum_.size() + offset_.size());
  for (const kernels::CodePanels& p : code_panels_) total += p.data.size() + 4 * (p.sum.size() + p.scale.size());
  for (const kernels::FloatPanels& p : float_panels_) total += 4 * (p.data.size() + p.scale.size());
  return total;
}

MemoryRange LinearWeights::memory() const {
  switch (kernel_->id) {
    // Of slices, which lie apart, what is read first.
    case KernelId::codes: return {code_panels_.front().data.data(), code_panels_.front().data.size()};
    case KernelId::packed: return {packed_panels_.data.data(), packed_panels_.data.size()};
    case KernelId::planes: return {plane_panels_.data.data(), 4 * plane_panels_.data.size()};
    case KernelId::floats: return {float_panels_.front().data.data(), 4 * float_panels_.front().data.size()};
    case KernelId::bf16: return {bf16_panels_.data.data(), 2 * bf16_panels_.data.size()};
  }
  return {};
}

void LinearInput::reserve(const model::TensorCoding& coding, std::size_t rows, std::size_t k, bool want_mask) {
  if (coding.weight.shift == Shift::mean && value_sum_.size() < rows) value_sum_.resize(rows);
  if (coding.format.kind == Format::Kind::bf16) {
    if (rounded_.size() < rows * kernels::bf16_stride(k)) rounded_.resize(rows * kernels::bf16_stride(k));
  } else if (coding.format.weight_only()) {
    if (coding.input_group > 1 && rotated_.size() < rows * k) rotated_.resize(rows * k);
  } else if (coding.format.quantized()) {
    if (coding.format.decoded() && rotated_.size() < rows * k) rotated_.resize(rows * k);
    if (codes_.size() < rows * code_stride(k)) codes_.resize(rows * code_stride(k));
    if (scale_.size() < rows) scale_.resize(rows), sum_.resize(rows);
    const std::size_t sums = coding.format.integer() ? rows * slices_of(coding, k) : 0;
    if (sums > rows && slice_sum_.size() < sums) slice_sum_.resize(sums);
    if (want_mask && mask_.size() < rows * mask_words(k)) mask_.resize(rows * mask_words(k));
  }
}

void LinearInput::prepare(Executor& executor, const model::TensorCoding& coding, std::size_t rows, std::size_t k,
                          const float* x, std::size_t x_stride, bool want_mask) {
  start(coding, rows, k, want_mask);
  if (!values_) {
    values_ = x;
    values_stride_ = x_stride;
  }
  fill(executor, 0, rows, x, x_stride);
}

void LinearInput::start(const model::TensorCoding& coding, std::size_t rows, std::size_t k, bool want_mask) {
  reserve(coding, rows, k, want_mask);
  coding_ = coding;
  rows_ = rows;
  k_ = k;
  has_mask_ = want_mask;
  const bool own = coding.format.decoded() || (coding.format.weight_only() && coding.input_group > 1);
  values_ = own ? rotated_.data() : nullptr;
  values_stride_ = k;
}

void LinearInput::prepare_rows(Executor& executor, std::size_t first, std::size_t count, const float* x) {
  assert(first + count <= rows_);
  fill(executor, first, count, x, k_);
}

void LinearInput::fill(Executor& executor, std::size_t first, std::size_t count, const float* x, std::size_t x_stride) {
  const Format& format = coding_.format;
  float* const rotated = rotated_.empty() ? nullptr : rotated_.data() + first * k_;
  if (format.kind == Format::Kind::bf16) {
    kernels::round_rows(executor, count, k_, x, x_stride, rounded_.data() + first * kernels::bf16_stride(k_));
  } else if (format.weight_only()) {
    if (coding_.input_group > 1)
      kernels::rotate_rows(executor, coding_.input_group, count, k_, x, x_stride, rotated, k_);
  } else if (format.quantized()) {
    kernels::CodedRows rows = coded();
    rows.codes += first * code_stride(k_);
    rows.scale += first;
    rows.sum += first;
    if (rows.mask) rows.mask += first * mask_words(k_);
    kernels::code_rows(executor, input_coding(coding_), count, k_, x, x_stride, rows);
    if (format.decoded()) {
      assert(coding_.input.shift == Shift::none);
      kernels::decode_rows(executor, {format.activation, 1, 0}, count, nullptr, k_, rows.codes, rows.scale, rotated,
                           k_);
    }
  }
  sum_slices(first, count);
  sum_values(first, count);
}

// For weights with several scales a row: what the row's sum is to a whole product.
void LinearInput::sum_slices(std::size_t first, std::size_t count) {
  const std::size_t slices = slices_of(coding_, k_);
  if (slices == 1 || !coding_.format.integer()) return;
  for (std::size_t i = first; i < first + count; ++i)
    for (std::size_t s = 0; s < slices; ++s) {
      const std::span codes(codes_.data() + i * code_stride(k_) + s * (k_ / slices), k_ / slices);
      slice_sum_[s * rows_ + i] = std::accumulate(codes.begin(), codes.end(), std::int32_t{0});
    }
}

// For weights with an offset.
void LinearInput::sum_values(std::size_t first, std::size_t count) {
  if (coding_.weight.shift != Shift::mean) return;
  const Grid* grid = coding_.format.activation;
  for (std::size_t i = first; i < first + count; ++i) {
    if (!grid) {
      value_sum_[i] = kernels::reference::row_sum<float>({values_ + i * values_stride_, k_});
      continue;
    }
    const std::int64_t levels =
        std::int64_t{grid->multiplier()} * sum_[i] + static_cast<std::int64_t>(k_) * grid->value_of_code(0);
    value_sum_[i] = kernels::reference::input_sum(levels, scale_[i], k_, static_cast<float>(coding_.input.offset));
  }
}

kernels::CodedRows LinearInput::coded() const {
  return {const_cast<std::uint8_t*>(codes_.data()), const_cast<float*>(scale_.data()),
          const_cast<std::int32_t*>(sum_.data()), has_mask_ ? const_cast<std::uint64_t*>(mask_.data()) : nullptr};
}

namespace {
// What an integer product leaves out where inputs are coded around an offset.
void add_offset(Executor& executor, const LinearInput& input, const LinearOutput& output) {
  const SideCoding& side = input.coding().input;
  const nn::LinearWeights& w = *output.weights;
  if (side.shift != Shift::none && input.coding().format.integer())
    kernels::add_offset(executor, input.rows(), w.n(), static_cast<float>(side.offset), w.value_sum(), output.y,
                        output.y_stride);
  if (w.coding().weight.shift == Shift::mean)
    kernels::add_row_offsets(executor, input.rows(), w.n(), input.value_sum(), w.offset(), output.y, output.y_stride);
}

// y [m, n] = the sum of the slices' products in their order, one rounding after another.
// product   (slice, first row, rows, where to, its row stride)
template <class Product>
void add_slices(Executor& executor, std::size_t slices, std::size_t m, std::size_t n, float* y, std::size_t y_stride,
                Product&& product) {
  if (slices == 1) return product(0, 0, m, y, y_stride);
  constexpr std::size_t kRows = 512;  // at once, so that memory for a part stays small
  thread_local Buffer<float> memory;
  memory.resize(std::min(m, kRows) * n);
  float* const part = memory.data();
  for (std::size_t first = 0; first < m; first += kRows) {
    const std::size_t rows = std::min(kRows, m - first);
    product(0, first, rows, y + first * y_stride, y_stride);
    for (std::size_t s = 1; s < slices; ++s) {
      product(s, first, rows, part, n);
      kernels::for_rows(executor, rows, n, [&](std::size_t begin, std::size_t end) {
        for (std::size_t i = begin; i < end; ++i)
          for (std::size_t j = 0; j < n; ++j) y[(first + i) * y_stride + j] += part[i * n + j];
      });
    }
  }
}
}  // namespace

void linear(Executor& executor, const LinearInput& input, const LinearWeights& weights, float* y,
            std::size_t y_stride) {
  assert(input.k() == weights.k());
  const std::size_t m = input.rows(), n = weights.n(), k = weights.k(), slices = weights.slices(),
                    slice = weights.slice();
  const Grid* grid = weights.coding_.format.activation;
  switch (weights.kernel_->id) {
    case KernelId::codes:
      assert(slices_of(input.coding_, k) == slices);
      add_slices(executor, slices, m, n, y, y_stride,
                 [&](std::size_t s, std::size_t first, std::size_t rows, float* to, std::size_t stride) {
                   kernels::CodedRows x = input.coded();
                   x.codes += first * code_stride(k) + s * slice;
                   x.scale += first;
                   x.sum =
                       slices == 1 ? x.sum + first : const_cast<std::int32_t*>(input.slice_sum_.data()) + s * m + first;
                   kernels::code_product(executor, rows, *grid, x, weights.code_panels_[s], to, stride, code_stride(k));
                 });
      break;
    case KernelId::packed:
      kernels::code_product(executor, m, *grid, input.coded(), weights.packed_panels_, y, y_stride);
      break;
    case KernelId::planes:
      kernels::plane_product(executor, m, *grid, input.coded(), weights.plane_panels_.bits(), y, y_stride);
      break;
    case KernelId::floats:
      add_slices(executor, slices, m, n, y, y_stride,
                 [&](std::size_t s, std::size_t first, std::size_t rows, float* to, std::size_t stride) {
                   const float* const x = input.values() + first * input.values_stride() + s * slice;
                   kernels::float_product(executor, rows, x, input.values_stride(), weights.float_panels_[s], to,
                                          stride);
                 });
      break;
    case KernelId::bf16:
      kernels::bf16_product(executor, m, input.rounded_.data(), weights.bf16_panels_, y, y_stride);
      return;
  }
  add_offset(executor, input, {&weights, y, y_stride});
}

void linear(Executor& executor, const LinearInput& input, std::span<const LinearOutput> outputs) {
  std::array<kernels::PackedProduct, kernels::kMostProducts> products;
  std::array<const LinearOutput*, kernels::kMostProducts> of;
  std::size_t count = 0;
  for (const LinearOutput& output : outputs) {
    const LinearWeights& weights = *output.weights;
    if (weights.kernel_->id == KernelId::packed && count < products.size()) {
      // Layers that read the same coded rows have the activation grid of the input.
      assert(input.k() == weights.k() && weights.coding_.format.activation == input.coding().format.activation);
      of[count] = &output;
      products[count++] = {&weights.packed_panels_, output.y, output.y_stride};
    } else {
      linear(executor, input, weights, output.y, output.y_stride);
    }
  }
  if (count > 0)
    kernels::code_products(executor, input.rows(), *input.coding().format.activation, input.coded(),
                           {products.data(), count});
  for (std::size_t i = 0; i < count; ++i) add_offset(executor, input, *of[i]);
}

}  // namespace lowbit::nn
