#pragma once
#include <cstddef>
#include <cstdint>

#include "lowbit/kernels/backward_int8.h"

// What each instruction set provides for backward_int8.h. Internal to kernels/.
namespace lowbit::kernels {

/// Rows of gradient codes that one tile multiplies at once, columns of a panel of B, columns of a panel group.
inline constexpr std::size_t kInt8Rows = 8, kInt8Columns = 16;

/// A part of A to be coded: rows [row, row + rows) of A and contracted indices [k_begin, k_begin + k_count), one block.
struct GradientSource {
  const float* values;  ///< of the whole operand
  std::size_t stride;   ///< elements between stored rows
  const float* scale;   ///< over the contracted index, or null
  std::uint64_t key;
  std::size_t row, rows, k_begin, k_count;
};

/// Coded gradients of a block. By rows: code (r, l) at [r][kGradientBlock] + l. By panels of 16 rows: at
/// [r / 16][l / 4][r % 16][l % 4]. Both zero from k_count on to the next multiple of 4.
struct GradientCodes {
  std::int8_t* codes;
  std::size_t panel_bytes;  ///< between panels of 16 rows; by panels only
  float* scale;             ///< [rows]
  std::int32_t* sum;        ///< [rows]: sum of g
};

/// Part of B to be packed: contracted indices as above, columns [column, column + columns).
struct CodeSource {
  const std::uint8_t* codes;
  std::size_t stride, k_begin, k_count, column, columns;
};

/// One block's product. B: panels of 16 columns, [l / 4][16][4] unsigned codes.
struct Int8Block {
  std::size_t quads, rows, columns;
  bool by_rows;  ///< how `a` lies: GradientCodes
  const std::int8_t* a;
  std::size_t a_panel_bytes;
  const float* scale;       ///< [rows rounded up to 8]
  const std::int32_t* sum;  ///< the same
  const std::uint8_t* b;
  std::size_t b_panel_bytes;
  int shift;            ///< o = (u << shift) + offset
  std::int32_t offset;
  bool wide;            ///< two products g u may leave 16 bits
  float* c;
  std::size_t c_stride;
  bool overwrite;
  const float* ahead;  ///< gradients that will be coded next by rows, of this shape: asked for meanwhile. Or null
  std::size_t ahead_stride;
};

struct Int8Form {
  const char* name;
  void (*code_rows)(const GradientSource& source, const GradientCodes& out);     ///< stored [m, k]: by rows
  void (*code_columns)(const GradientSource& source, const GradientCodes& out);  ///< stored [k, m]: by panels
  void (*pack_codes)(const CodeSource& source, std::uint8_t* panels, std::size_t panel_bytes);
  void (*product)(const Int8Block& block);
};

/// The form of active_isa().
const Int8Form& int8_form();

namespace forms {
extern const Int8Form plain_int8;
#if defined(__x86_64__)
extern const Int8Form avx2_int8, avx512_int8;
#endif
}  // namespace forms

}  // namespace lowbit::kernels
