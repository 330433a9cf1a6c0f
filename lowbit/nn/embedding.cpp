#include "lowbit/nn/embedding.h"

#include <algorithm>
#include <cassert>
#include <vector>

#include "lowbit/formats/layout.h"
#include "lowbit/nn/linear.h"

namespace lowbit::nn {

using kernels::code_stride;
using kernels::mask_words;

namespace {
constexpr std::size_t kRowsPerTask = 64;  // enough work to be worth handing to a thread
}

kernels::CodedRows Embedding::coded() const {
  return {const_cast<std::uint8_t*>(codes_.data()), const_cast<float*>(scale_.data()),
          const_cast<std::int32_t*>(sum_.data()), mask_.empty() ? nullptr : const_cast<std::uint64_t*>(mask_.data())};
}

void Embedding::set(Executor& executor, const model::TensorCoding& coding, std::size_t n, std::size_t k,
                    const float* weights, bool keep_mask) {
  coding_ = coding;
  n_ = n;
  k_ = k;
  const std::size_t tasks = (n + kRowsPerTask - 1) / kRowsPerTask;
  const auto over_rows = [&](auto&& body) {
    executor.parallel_for(tasks, [&](std::size_t task) {
      const std::size_t begin = task * kRowsPerTask * k, end = std::min(n, (task + 1) * kRowsPerTask) * k;
      body(begin, end);
    });
  };
  switch (coding.format.kind) {
    case Format::Kind::f32:
      values_.resize(n * k);
      over_rows([&](std::size_t begin, std::size_t end) {
        std::copy(weights + begin, weights + end, values_.data() + begin);
      });
      return;
    case Format::Kind::bf16:
      rounded_.resize(n * k);
      over_rows([&](std::size_t begin, std::size_t end) {
        for (std::size_t i = begin; i < end; ++i) rounded_[i] = to_bf16(weights[i]);
      });
      return;
    case Format::Kind::quantized:
      codes_.resize(n * code_stride(k));
      scale_.resize(n);
      sum_.resize(n);
      mask_.resize(keep_mask ? n * mask_words(k) : 0);
      kernels::code_rows(executor, weight_coding(coding), n, k, weights, k, coded());
      return;
  }
}

void Embedding::set_coded(Executor& executor, const model::TensorCoding& coding, std::size_t n, std::size_t k,
                          std::span<const std::uint8_t> canonical, std::span<const float> scale) {
  coding_ = coding;
  n_ = n;
  k_ = k;
  const Grid& grid = *coding.format.weight;
  const std::size_t row_bytes = stored_row_bytes(grid, k);
  assert(canonical.size() == n * row_bytes && scale.size() == n);
  canonical_.resize(n * row_bytes);
  scale_.resize(n);
  std::copy(scale.begin(), scale.end(), scale_.begin());
  const bool all_known = grid.levels == 1 << grid.storage_bits;
  executor.parallel_for((n + kRowsPerTask - 1) / kRowsPerTask, [&](std::size_t task) {
    const std::size_t begin = task * kRowsPerTask, end = std::min(n, begin + kRowsPerTask);
    std::copy(canonical.data() + begin * row_bytes, canonical.data() + end * row_bytes,
              canonical_.data() + begin * row_bytes);
    if (all_known) return;
    std::vector<std::uint8_t> codes(k);  // damage shows here, not when a row is looked up
    for (std::size_t row = begin; row < end; ++row)
      unpack_stored(grid, canonical.subspan(row * row_bytes, row_bytes), codes);
  });
}

void Embedding::look_up_packed(Executor& executor, std::size_t rows, const std::int32_t* ids, float* y) const {
  // Memory of the calling thread, used again: looking up allocates nothing once the most rows have been seen.
  thread_local Buffer<std::uint8_t> codes;
  thread_local Buffer<float> scale;
  thread_local Buffer<std::int32_t> order;
  codes.resize(rows * code_stride(k_));
  scale.resize(rows);
  order.resize(rows);
  std::uint8_t* const to = codes.data();
  const std::size_t row_bytes = stored_row_bytes(*coding_.format.weight, k_);
  for (std::size_t row = 0; row < rows; ++row) {
    assert(ids[row] >= 0 && static_cast<std::size_t>(ids[row]) < n_);
    scale[row] = scale_[static_cast<std::size_t>(ids[row])];
    order[row] = static_cast<std::int32_t>(row);
  }
  executor.parallel_for((rows + kRowsPerTask - 1) / kRowsPerTask, [&](std::size_t task) {
    for (std::size_t row = task * kRowsPerTask; row < std::min(rows, (task + 1) * kRowsPerTask); ++row) {
      const std::uint8_t* from = canonical_.data() + static_cast<std::size_t>(ids[row]) * row_bytes;
      unpack_stored(*coding_.format.weight, {from, row_bytes}, {to + row * code_stride(k_), k_});
    }
  });
  kernels::decode_rows(executor, weight_coding(coding_), rows, order.data(), k_, to, scale.data(), y, k_);
}

void Embedding::look_up(Executor& executor, std::size_t rows, const std::int32_t* ids, float* y) const {
  if (!canonical_.empty()) {
    look_up_packed(executor, rows, ids, y);
    return;
  }
  if (coding_.format.quantized()) {
    kernels::decode_rows(executor, weight_coding(coding_), rows, ids, k_, codes_.data(), scale_.data(), y, k_);
    return;
  }
  const bool rounded = coding_.format.kind == Format::Kind::bf16;
  executor.parallel_for((rows + kRowsPerTask - 1) / kRowsPerTask, [&](std::size_t task) {
    for (std::size_t row = task * kRowsPerTask; row < std::min(rows, (task + 1) * kRowsPerTask); ++row) {
      assert(ids[row] >= 0 && static_cast<std::size_t>(ids[row]) < n_);
      const std::size_t from = static_cast<std::size_t>(ids[row]) * k_;
      float* to = y + row * k_;
      if (rounded)
        for (std::size_t i = 0; i < k_; ++i) to[i] = to_float(rounded_[from + i]);
      else
        std::copy_n(values_.data() + from, k_, to);
    }
  });
}

std::size_t Embedding::bytes() const {
  return 4 * values_.size() + 2 * rounded_.size() + codes_.size() + canonical_.size() + 4 * scale_.size();
}

}  // namespace lowbit::nn
