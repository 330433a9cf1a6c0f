#pragma once
#include <cstddef>
#include <cstdint>

// What each instruction set provides for packed_panels.h. Internal to kernels/.
namespace lowbit::kernels {

// The sum over k of o_x o_w from what the kernels add up, modulo 2^32, as in code_product_forms.h, but with the sides
// changed: u of the weights is unsigned, x is signed: v = u for up to 7 bits, u - 128 for 8. With o_w = a_w u + c_w and
// o_x = a_x v + c_v = a_x u + c_x:
//   S = a_x a_w D + a_x c_w X + c_v a_w W + K c_w c_x,   D = sum v u,  X = sum u of x's row,  W = sum u of w's row.
struct PackedFactors {
  int shift;               ///< log2(a_x a_w)
  std::int32_t of_x;       ///< a_x c_w
  std::int32_t of_w;       ///< c_v a_w
  std::uint32_t constant;  ///< K c_w c_x, modulo 2^32
};

struct PackedTile {
  PackedFactors factors;
  int bits;              ///< of a code
  std::size_t blocks;    ///< of 32 codes along K to be read
  std::size_t rows;      ///< of x and y
  const std::int8_t* x;  ///< [rows], x_stride bytes apart: v
  std::size_t x_stride;
  const float* x_scale;       ///< [rows]
  const std::int32_t* x_sum;  ///< [rows]: of u
  const std::uint8_t* w;      ///< panels, panel_bytes apart
  std::size_t panel_bytes;
  const std::int32_t* w_sum;  ///< [16 * panels]
  const float* w_scale;       ///< [16 * panels]
  std::size_t outputs;        ///< columns of y to be written, at most 16 * kPanelsPerGroup
  float* y;
  std::size_t y_stride;
};

/// One panel to signed bytes, as CodePanels has them: u + lowest.
struct UnpackTile {
  int bits;
  int lowest;
  std::size_t blocks;
  const std::uint8_t* panel;
  std::int8_t* out;  ///< [blocks][8][16][4]
};

#if defined(__x86_64__)
/// Rows in a register tile, at most: fewer tiles are fewer times that a weight is taken out of its bits.
inline constexpr std::size_t kPackedRowsAvx2 = 4, kPackedRowsAvx512 = 6;
void packed_tile_avx2(const PackedTile& tile);
void packed_tile_avx512(const PackedTile& tile);
void unpack_panel_avx2(const UnpackTile& tile);
void unpack_panel_avx512(const UnpackTile& tile);
#endif

}  // namespace lowbit::kernels
