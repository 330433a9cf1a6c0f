#pragma once
#include <cstddef>
#include <cstdint>

#include "lowbit/formats/grid.h"

// What each instruction set provides for code_product.h: the tile of outputs of one task. Internal to kernels/.
namespace lowbit::kernels {

// The sum over k of o_x o_w, from what the kernels add up. Per side o = a * code + c: for x the code is u >= 0 as
// stored (c_x = a_x * lowest + addend, the value of u = 0), for w it is the signed k of the panels (c_w = addend). So
//   S = a_x a_w D + a_x c_w X + c_x a_w W + K c_x c_w,   D = sum u k,  X = sum u of x's row,  W = sum k of w's row.
// |S| <= K max|o_x| max|o_w| < 2^31 for K <= longest_row. The four terms may be larger; all arithmetic is modulo 2^32
// (vpdpbusd and vpaddd wrap), which gives S, since S itself fits.
struct SumFactors {
  int shift;               ///< log2(a_x a_w): 0, 1 or 2
  std::int32_t of_x;       ///< a_x c_w
  std::int32_t of_w;       ///< c_x a_w
  std::uint32_t constant;  ///< K c_x c_w, modulo 2^32
  /// How many sums of two products u k in a row fit 16 bits: floor(32767 / (2 max u max|k|)); 0 when one does not,
  /// which is so for 8 by 8 bits alone (2 * 255 * 128).
  int steps_in_16_bits;
};
SumFactors sum_factors(const Grid& x, const Grid& w, std::size_t k);

struct ProductTile {
  SumFactors factors;
  std::size_t quads;      ///< of 4 codes along K to be read
  std::size_t rows;       ///< of x and y
  const std::uint8_t* x;  ///< [rows], x_stride bytes apart
  std::size_t x_stride;
  const float* x_scale;       ///< [rows]
  const std::int32_t* x_sum;  ///< [rows]
  const std::int8_t* w;       ///< panels, panel_bytes apart
  std::size_t panel_bytes;
  const std::int32_t* w_sum;  ///< [16 * panels]
  const float* w_scale;       ///< [16 * panels]
  std::size_t outputs;        ///< columns of y to be written, at most 16 * kPanelsPerGroup
  float* y;
  std::size_t y_stride;
};

/// Panels of one tile. Their weights (64 * K bytes) stay in L2 while rows pass.
inline constexpr std::size_t kPanelsPerGroup = 4;

#if defined(__x86_64__)
void product_tile_avx2(const ProductTile& tile);
void product_tile_avx512(const ProductTile& tile);
#endif

}  // namespace lowbit::kernels
