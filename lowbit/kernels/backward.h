#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>

#include "lowbit/base/executor.h"
#include "lowbit/formats/grid.h"
#include "lowbit/kernels/attention.h"
#include "lowbit/kernels/elementwise.h"

// Gradients. Free of the promise of equal bits across instruction sets, but deterministic: the same bits for any thread
// count on one processor model, because work is cut into tiles fixed by the shape, each summed by one thread.
namespace lowbit::kernels {

/// int8 is for products of a gradient and codes (backward_int8.h); what is declared here takes f32 or bf16.
enum class Precision { f32, bf16, int8 };
constexpr const char* name_of(Precision p) {
  return p == Precision::f32 ? "f32" : p == Precision::bf16 ? "bf16" : "int8";
}

/// One matrix operand of a backward product: float32, or codes that stand for small integers o (exact in bfloat16).
struct BackwardOperand {
  const float* values = nullptr;            ///< exactly one of values and codes is set
  const std::uint8_t* codes = nullptr;      ///< u; value is grid->value_of_code(u)
  const Grid* grid = nullptr;               ///< with codes
  std::size_t stride = 0;                   ///< elements between stored rows
  bool transposed = false;                  ///< stored as [columns, rows] of the logical matrix
  const float* contracted_scale = nullptr;  ///< multiplies along the contracted index (before rounding), or null
};

/// C [m, n] (+)= A [m, k] B [k, n], float32 result and sums. bf16: operands rounded to nearest even after the scale.
/// dX = (dY scaled by h_w over outputs) . O_w; dW = (dY^T scaled by h_x over rows) . O_x: QuEST, section 3.3.
void backward_product(Executor& executor, Precision precision, std::size_t m, std::size_t n, std::size_t k,
                      const BackwardOperand& a, const BackwardOperand& b, float* c, std::size_t c_stride,
                      bool accumulate);

/// Called for each range of rows [first, first + count) by the task that then reads their dy, while what it leaves
/// there is in the cache. Empty: dy is complete.
using BeforeRows = std::function<void(std::size_t first, std::size_t count)>;

/// dx = base + gradient of rms_norm; dweight += sum over rows. base: [rows, k] or null for 0; may be dx. inv: [rows] as
/// the forward gave it. dx may be dy.
void rms_norm_backward(Executor& executor, std::size_t rows, std::size_t k, const float* x, const float* weight,
                       const float* inv, const float* dy, const float* base, float* dx, float* dweight,
                       const BeforeRows& before = {});

/// Gradients of a learned step and of the offset around which values are coded (reference_backward.h, step_gradient_row
/// and offset_gradient_row), summed over rows in double, in their order. g, x: [rows, k], x not rotated and still with
/// the offset; group: of the rotation that it was coded under; codes: [rows, code_stride(k)].
struct StepGradients {
  double step = 0, offset = 0;
};
StepGradients step_gradient(Executor& executor, int group, const Grid& grid, float step, float offset,
                            bool clamped_only, std::size_t rows, std::size_t k, const float* g, const float* x,
                            const std::uint8_t* codes);
/// reference::adabin_input_row over rows, and the two sums in double; g [rows, k] becomes the gradient of x H; x is
/// not rotated by group and still has the offset.
struct AdabinGradients {
  double alpha = 0, beta = 0;
};
AdabinGradients adabin_input(Executor& executor, int group, float alpha, float offset, std::size_t rows, std::size_t k,
                             float* g, const float* x);
/// reference::adabin_weight_row over rows. alpha: [rows].
void adabin_weights(Executor& executor, const float* alpha, std::size_t rows, std::size_t k, float* g, const float* x);

/// Gradients of silu(gate) * up.
void swiglu_backward(Executor& executor, std::size_t rows, std::size_t k, const float* gate, const float* up,
                     std::size_t stride, const float* dy, float* dgate, float* dup, std::size_t dstride,
                     const BeforeRows& before = {});

/// One sequence of a batch for attention_backward: all positions 0 .. rows-1; q, k after rope; strides in floats.
struct AttentionBackwardJob {
  const float *q, *k, *v;   ///< [rows, heads * d], [rows, kv_heads * d] twice
  const float *out, *dout;  ///< [rows, heads * d]
  const float* log_sum;     ///< [heads, rows]
  float *dq, *dk, *dv;      ///< written (not accumulated), same strides as q, k, v
};
/// Gradients of causal attention without a stored score matrix: probabilities are computed again, block by block.
/// shape.format says how the forward took its scores (and so log_sum): they are computed again in the same precision.
/// source  Dao et al. 2022, FlashAttention, arXiv 2205.14135, algorithm 4 (here a tile of queries by a tile of keys).
void attention_backward(Executor& executor, Precision precision, const AttentionShape& shape, std::size_t rows,
                        std::size_t jobs, const AttentionBackwardJob* job, std::size_t q_stride, std::size_t kv_stride,
                        std::size_t out_stride);

/// dtable[ids[i]] += dy[i] for each row i in ascending order, split over columns. dy [rows, k].
void embedding_backward(Executor& executor, std::size_t rows, std::size_t k, const std::int32_t* ids, const float* dy,
                        float* dtable);

/// Sum of squares in double, over chunks fixed by n, added in order: the gradient norm.
double sum_of_squares(Executor& executor, std::size_t n, const float* x);

}  // namespace lowbit::kernels
