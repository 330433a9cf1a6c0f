#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "lowbit/base/aligned.h"
#include "lowbit/base/executor.h"
#include "lowbit/kernels/code_product.h"
#include "lowbit/kernels/float_product.h"
#include "lowbit/kernels/packed_panels.h"
#include "lowbit/kernels/plane_panels.h"
#include "lowbit/model/tensors.h"
#include "lowbit/nn/kernel_choice.h"

// A linear layer y = x w^T in every format: one preparation of the input, shared by all layers that read it, one form
// of the weights, one product. Training and inference both call these, so they cannot drift apart.
namespace lowbit::nn {

/// How the rows of weights and inputs are coded, as kernels want it. Requires a quantized format.
kernels::RowCoding weight_coding(const model::TensorCoding& coding);
/// Requires a quantized activation side.
kernels::RowCoding input_coding(const model::TensorCoding& coding);

/// One of several layers that read the same input, and where its output goes.
struct LinearOutput;

/// Weights [n, k] in the form that the product of their format reads. What the backward pass and `pack` need beside it
/// (row-major codes, masks) is kept on request.
/// Where some columns of a row share a scale, each such slice is coded as a row of its own: the matrix [n, k] is coded
/// as [n * slices(), slice()], in the same memory, since a slice fills whole words of codes and of masks.
class LinearWeights {
 public:
  struct Keep {
    bool codes = false;  ///< row-major codes, for the backward products and for packing: weights that are trained
    bool mask = false;   ///< the trust mask
  };

  /// From float weights, row-major [n, k]: rounds or codes them. Call again when they change; memory is reused.
  void set(Executor& executor, const model::TensorCoding& coding, std::size_t n, std::size_t k, const float* weights,
           Keep keep);
  /// From stored codes (formats/layout.h, row by row), and h of each row or slice. throws Error(input): a code that the
  /// grid does not have. offset: [n] with Shift::mean, else empty.
  void set_coded(Executor& executor, const model::TensorCoding& coding, std::size_t n, std::size_t k,
                 std::span<const std::uint8_t> canonical, std::span<const float> scale,
                 std::span<const float> offset = {});

  const model::TensorCoding& coding() const { return coding_; }
  std::size_t n() const { return n_; }
  std::size_t k() const { return k_; }
  /// Slices of a row, each with a scale; 1: the row has one. Of so many columns:
  std::size_t slices() const { return static_cast<std::size_t>(coding_.weight.slices(static_cast<std::int64_t>(k_))); }
  std::size_t slice() const { return k_ / slices(); }
  /// Kept codes: [n, code_stride(k)], h [n, slices()]; mask [n, mask_words(k)] or null. Valid when kept.
  kernels::CodedRows coded() const;
  const float* scale() const { return scale_.data(); }
  /// [n, k], what the product read where that is neither codes nor the weights themselves: rotated (w16aY), or 0 where
  /// it was pruned and not yet rounded (bf16+2:4). Valid when codes were to be kept; else null.
  const float* values() const { return values_.empty() ? nullptr : values_.data(); }
  /// [n]: of o h over each row. Valid where integer products meet inputs with an offset.
  const float* value_sum() const { return value_sum_.data(); }
  /// [n]: what stands beside o h in each row. Valid with Shift::mean.
  const float* offset() const { return offset_.data(); }
  /// The kernel that the weights are laid out for: kernel_choice.h. Valid when they were set.
  const Kernel& kernel() const { return *kernel_; }
  /// Bytes held for the forward product.
  std::size_t bytes() const;
  /// Where the product reads most of them.
  MemoryRange memory() const;

 private:
  friend class LinearInput;
  friend void linear(Executor&, const class LinearInput&, const LinearWeights&, float*, std::size_t);
  friend void linear(Executor&, const class LinearInput&, std::span<const LinearOutput>);
  void choose(Executor& executor, Purpose purpose);
  void make_code_panels(Executor& executor, const kernels::CodedRows& rows);
  void sum_values();

  model::TensorCoding coding_;
  std::size_t n_ = 0, k_ = 0;
  const Kernel* kernel_ = nullptr;  ///< says which of these holds the weights
  std::vector<kernels::CodePanels> code_panels_;  ///< [slices()], as those of floats
  kernels::PackedPanels packed_panels_;
  kernels::PlanePanels plane_panels_;
  std::vector<kernels::FloatPanels> float_panels_;
  kernels::Bf16Panels bf16_panels_;
  Buffer<std::uint8_t> codes_;
  Buffer<float> scale_;
  Buffer<std::int32_t> sum_;
  Buffer<std::uint64_t> mask_;
  Buffer<float> values_;
  Buffer<float> offset_;     ///< [n], with Shift::mean; else empty
  Buffer<float> value_sum_;  ///< [n], of o h over a row: what an offset of the inputs is multiplied by; else empty
};

/// Rows of activations in the form that the products of a format read: coded, rotated, rounded, or as they are. Holds
/// its own memory, which grows to the most rows seen and is reused.
class LinearInput {
 public:
  /// Room for so many rows, so that prepare() allocates nothing.
  void reserve(const model::TensorCoding& coding, std::size_t rows, std::size_t k, bool want_mask);
  /// x: [rows, k], row stride x_stride. When the format takes x as it is (f32, hadamard-weights), x must live as long
  /// as this input is read.
  void prepare(Executor& executor, const model::TensorCoding& coding, std::size_t rows, std::size_t k, const float* x,
               std::size_t x_stride, bool want_mask);
  /// The same in pieces, for formats that do not take x as it is: start(), then prepare_rows() of every row once, from
  /// any threads. x: [count, k] contiguous, not read later.
  void start(const model::TensorCoding& coding, std::size_t rows, std::size_t k, bool want_mask);
  void prepare_rows(Executor& executor, std::size_t first, std::size_t count, const float* x);

  std::size_t rows() const { return rows_; }
  std::size_t k() const { return k_; }
  const model::TensorCoding& coding() const { return coding_; }
  /// Valid when the activation side is coded.
  kernels::CodedRows coded() const;
  /// The float rows that met the weights: rotated (a16), decoded (tables), or x itself. Valid when the product is one
  /// of floats.
  const float* values() const { return values_; }
  std::size_t values_stride() const { return values_stride_; }
  /// [rows]: what a row's values add up to (reference::input_sum). Valid where weights have an offset.
  const float* value_sum() const { return value_sum_.data(); }

 private:
  friend void linear(Executor&, const LinearInput&, const LinearWeights&, float*, std::size_t);
  void fill(Executor& executor, std::size_t first, std::size_t count, const float* x, std::size_t x_stride);
  void sum_slices(std::size_t first, std::size_t count);
  void sum_values(std::size_t first, std::size_t count);
  model::TensorCoding coding_;
  std::size_t rows_ = 0, k_ = 0;
  Buffer<std::uint8_t> codes_;
  Buffer<float> scale_;
  Buffer<std::int32_t> sum_,
      slice_sum_;  ///< slice_sum_: of the codes that meet each slice of the weights, [slices, rows]; 1 slice: empty
  Buffer<std::uint64_t> mask_;
  Buffer<float> rotated_, value_sum_;
  Buffer<bf16> rounded_;
  const float* values_ = nullptr;
  std::size_t values_stride_ = 0;
  bool has_mask_ = false;
};

struct LinearOutput {
  const LinearWeights* weights;
  float* y;  ///< [rows, n]
  std::size_t y_stride;
};

/// y [rows, n], row stride y_stride. Of weights with several slices: the product of each, rounded, added in their
/// order.
void linear(Executor& executor, const LinearInput& input, const LinearWeights& weights, float* y, std::size_t y_stride);
/// Several at once: the same bits, and where weights lie packed the threads meet once instead of once a layer.
void linear(Executor& executor, const LinearInput& input, std::span<const LinearOutput> outputs);

}  // namespace lowbit::nn
