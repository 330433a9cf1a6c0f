#pragma once
#include <cstddef>
#include <cstdint>

#include "lowbit/kernels/backward.h"

// How the backward kernels are put together: drivers that cut the work into tiles (backward_product.cpp,
// attention_backward.cpp, backward_rows.cpp), and one BackwardForm per instruction set that does the arithmetic of a
// tile. Not for callers of backward.h.
namespace lowbit::kernels {

/// What the inner product multiplies at once: one float32, or a pair of bfloat16 that are neighbours along the
/// contracted index, the lower index in the lower half.
using Word = std::uint32_t;

/// An operand as memory holds it, before it is packed.
struct PackSource {
  const float* values;             ///< or null
  const std::uint8_t* codes;       ///< or null
  float code_factor, code_offset;  ///< value = code_factor * code + code_offset, exact
  std::size_t stride;              ///< elements between stored rows
  bool along;                      ///< stored rows run along the free index (else along the contracted one)
  const float* scale;              ///< over the contracted index, or null
};

/// A rectangle of an operand: contracted indices [k_begin, k_begin + k_count), free indices [i_begin, i_begin +
/// i_count) of i_end in all.
struct PackRange {
  std::size_t k_begin, k_count, i_begin, i_count, i_end;
};

/// The parts of one instruction set. Both operands of a product are packed alike, in panels of `width` free indices:
/// [panel][word of the contracted index][width]; what lies past the matrix is zero.
struct BackwardForm {
  const char* name;
  std::size_t pair;          ///< contracted indices in a Word: 1 or 2
  std::size_t tile_rows;     ///< width of A's panels
  std::size_t tile_columns;  ///< width of B's panels

  /// Packs a rectangle. width: tile_rows or tile_columns. panel_stride: Words between panels, from panel_words().
  void (*pack)(const PackSource& source, const PackRange& range, std::size_t width, Word* panels,
               std::size_t panel_stride);
  /// c [m, n] = or += the product of ceil(m / tile_rows) panels of a and ceil(n / tile_columns) panels of b over
  /// `words`.
  void (*product)(std::size_t words, std::size_t m, std::size_t n, const Word* a, std::size_t a_panel_stride,
                  const Word* b, std::size_t b_panel_stride, float* c, std::size_t c_stride, bool overwrite);
  /// One tile of attention, in place, `columns` (a multiple of 16) of rows with a stride: score -> p = exp(score *
  /// scale - log_sum[r]), dp -> p * (dp - delta[r]) * scale; both 0 from column `visible` + r + 1 on.
  void (*attention_tile)(std::size_t rows, std::size_t columns, std::size_t stride, std::size_t visible, float scale,
                         const float* log_sum, const float* delta, float* score, float* dp);
  /// Rows [rows, k] of rms_norm_backward; adds to dweight [k].
  void (*rms_norm_rows)(std::size_t rows, std::size_t k, const float* x, const float* weight, const float* inv,
                        const float* dy, const float* base, float* dx, float* dweight);
  /// Rows of swiglu_backward. past_caches: dgate and dup are stored without being read first; each of their rows begins
  /// on a cache line.
  void (*swiglu_rows)(std::size_t rows, std::size_t k, const float* gate, const float* up, std::size_t stride,
                      const float* dy, float* dgate, float* dup, std::size_t dstride, bool past_caches);
  /// sums[r] = sum over i < n of a[r][i] * b[r][i], in float.
  void (*dot_rows)(std::size_t rows, std::size_t n, const float* a, const float* b, std::size_t stride, float* sums);
  /// y += x
  void (*add)(std::size_t n, const float* x, float* y);
  double (*sum_of_squares)(std::size_t n, const float* x);

  std::size_t words(std::size_t k) const { return (k + pair - 1) / pair; }
  /// Words from one panel to the next: a vector store may run past a panel's end, so there is room behind each.
  static constexpr std::size_t panel_words(std::size_t words, std::size_t width) {
    return (words * width + 15) / 16 * 16 + 16;
  }
};

/// The form of active_isa() for a precision. bfloat16 without instructions for it is float32 on rounded values, whose
/// products are exact.
const BackwardForm& backward_form(Precision precision);

namespace forms {
extern const BackwardForm plain_f32, plain_bf16;
#if defined(__x86_64__)
extern const BackwardForm avx2_f32, avx2_bf16, avx512_f32, avx512_bf16, avx512_bf16_native;
#endif
}  // namespace forms

}  // namespace lowbit::kernels
