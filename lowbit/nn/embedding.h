#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "lowbit/base/aligned.h"
#include "lowbit/base/executor.h"
#include "lowbit/formats/bf16.h"
#include "lowbit/kernels/code_rows.h"
#include "lowbit/model/tensors.h"

namespace lowbit::nn {

/// The embedding [vocabulary, width] in the head's format: float32 rows, rows rounded to bfloat16, or coded rows that
/// are decoded and rotated back (docs/reference/arithmetic.md, "The head"). Stored codes stay packed and are taken
/// apart when looked up.
class Embedding {
 public:
  void set(Executor& executor, const model::TensorCoding& coding, std::size_t n, std::size_t k, const float* weights,
           bool keep_mask);
  void set_coded(Executor& executor, const model::TensorCoding& coding, std::size_t n, std::size_t k,
                 std::span<const std::uint8_t> canonical, std::span<const float> scale);

  /// y [rows, width] contiguous. Each id is below the vocabulary (checked at the door: Error by callers, assert here).
  void look_up(Executor& executor, std::size_t rows, const std::int32_t* ids, float* y) const;

  std::size_t n() const { return n_; }
  std::size_t k() const { return k_; }
  const model::TensorCoding& coding() const { return coding_; }
  /// [n, code_stride(k)], h, and the mask. Valid when set from float weights.
  kernels::CodedRows coded() const;
  std::size_t bytes() const;

 private:
  void look_up_packed(Executor& executor, std::size_t rows, const std::int32_t* ids, float* y) const;

  model::TensorCoding coding_;
  std::size_t n_ = 0, k_ = 0;
  Buffer<float> values_;
  Buffer<bf16> rounded_;
  Buffer<std::uint8_t> codes_;      // bytes, from float weights
  Buffer<std::uint8_t> canonical_;  // or as stored
  Buffer<float> scale_;
  Buffer<std::int32_t> sum_;
  Buffer<std::uint64_t> mask_;
};

}  // namespace lowbit::nn
