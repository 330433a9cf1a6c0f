#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "lowbit/base/aligned.h"
#include "lowbit/base/executor.h"
#include "lowbit/formats/grid.h"

// Row-wise float operations of a Llama block. All are bit-equal to reference.h on every instruction set.
namespace lowbit::kernels {

/// y = (x * inv) * weight; inv [rows] or null receives 1 / sqrt(mean square + eps). [rows, k] contiguous. y may be x.
void rms_norm(Executor& executor, std::size_t rows, std::size_t k, const float* x, const float* weight, float eps,
              float* y, float* inv);

/// cos and sin of every position below `positions`: [positions, head_dim / 2] each, angles in double, rounded once.
struct RopeTable {
  std::size_t head_dim = 0, positions = 0;
  Buffer<float> cos, sin;
};
RopeTable make_rope_table(std::size_t head_dim, std::size_t positions, double theta);

/// Rotates heads in place. x: [rows, heads * head_dim] with row stride; row i stands at position_of[i].
/// inverse: rotates back (the transpose), for gradients.
void rope(Executor& executor, const RopeTable& table, std::size_t rows, std::size_t heads, float* x, std::size_t stride,
          const std::int32_t* position_of, bool inverse = false);

/// y = silu(gate) * up. [rows, k] with row strides gate_stride (for gate and up) and k (for y).
void swiglu(Executor& executor, std::size_t rows, std::size_t k, const float* gate, const float* up,
            std::size_t gate_stride, float* y);

/// y = factor * x over n values; y may be x.
void scale_values(Executor& executor, std::size_t n, float factor, const float* x, float* y);
/// Sums of products in 16 partial sums in double, of values, or of the o (or levels) that codes stand for and values.
/// For gradients.
double dot_values(std::size_t n, const float* x, const float* y);
double dot_codes(const Grid& grid, std::size_t n, const std::uint8_t* codes, const float* y);

/// x += y over n values.
void add_in_place(Executor& executor, std::size_t n, float* x, const float* y);

/// Negative log likelihood of each row's target, in double: reference.h cross_entropy_row. logits [rows, vocabulary].
/// dlogits, unless null: (softmax - onehot(target)) * scale, in float (may be the same memory as logits).
void cross_entropy(Executor& executor, std::size_t rows, std::size_t vocabulary, const float* logits,
                   const std::int32_t* targets, double* loss, float* dlogits, float scale);

}  // namespace lowbit::kernels
