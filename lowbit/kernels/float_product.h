#pragma once
#include <cstddef>
#include <cstdint>

#include "lowbit/base/aligned.h"
#include "lowbit/base/executor.h"
#include "lowbit/formats/bf16.h"
#include "lowbit/kernels/code_rows.h"

namespace lowbit::kernels {

/// float32 weights for order (a): panels of 16 outputs, [ceil(n/16)][k][16], pads 0. With `scale` the values are
/// float(o) of a coded row, and the product ends in one multiplication by h (wXa16).
struct FloatPanels {
  std::size_t n = 0, k = 0;
  Buffer<float> data;
  Buffer<float> scale;  ///< empty, or [n rounded up to 16]
};
void make_panels(Executor& executor, std::size_t n, std::size_t k, const float* weights, FloatPanels& panels);
/// Output i is row i * apart of the coded ones.
void make_panels(Executor& executor, const Grid& grid, std::size_t n, std::size_t k, const CodedRows& weights,
                 FloatPanels& panels, std::size_t apart = 1);
/// y[m][n] = sum of x[m][k] w[n][k] in order (a) (times h): bits equal everywhere. x: row stride x_stride.
void float_product(Executor& executor, std::size_t m, const float* x, std::size_t x_stride, const FloatPanels& w,
                   float* y, std::size_t y_stride);

/// bfloat16 weights for order (c): [ceil(n/16)][ceil(k/2)][16][2], pads 0.
struct Bf16Panels {
  std::size_t n = 0, k = 0;
  Buffer<bf16> data;
};
/// Rounds float weights [n, k] to bfloat16 on the way; or takes bfloat16 as it is.
void make_panels(Executor& executor, std::size_t n, std::size_t k, const float* weights, Bf16Panels& panels);
void make_panels(Executor& executor, std::size_t n, std::size_t k, const bf16* weights, Bf16Panels& panels);

/// bf16s between rows of rounded activations: k rounded up to 32; values past k are 0.
constexpr std::size_t bf16_stride(std::size_t k) { return (k + 31) / 32 * 32; }
/// Rounds rows to bfloat16: y [rows, bf16_stride(k)].
void round_rows(Executor& executor, std::size_t rows, std::size_t k, const float* x, std::size_t x_stride, bf16* y);
/// y[m][n] in order (c). x: [m, bf16_stride(k)].
void bf16_product(Executor& executor, std::size_t m, const bf16* x, const Bf16Panels& w, float* y,
                  std::size_t y_stride);

}  // namespace lowbit::kernels
