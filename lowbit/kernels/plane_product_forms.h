#pragma once
#include <cstddef>
#include <cstdint>

// What each instruction set provides for plane_product.h. Internal to kernels/.
namespace lowbit::kernels {

/// One row of codes as planes.
struct PlaneRowJob {
  const std::uint8_t* codes;  ///< [32 * blocks], blocks even
  std::size_t blocks;
  int planes;
  bool ternary;            ///< planes are [u >= 1] and [u >= 2], not the bits of u
  std::uint32_t* out;      ///< [planes][blocks]: bit 8 j + i is code 4 i + j of the block
};

// With b the bits of a side's planes, o = sum_i 2^i (2 b_i - 1), and a product of two such +-1 is 1 - 2 (b ^ b'):
//   S = sum_ij 2^(i+j) (K - 2 P_ij) = K (2^n - 1)(2^m - 1) - 2 P,   P = sum_ij 2^(i+j) P_ij,
//   P_ij = popcount(x_i ^ w_j).
// P is formed from the heaviest pairs down: whenever the weight halves, what has been counted is doubled. A ternary
// side has weights 1 and 1 and o is half the sum. Pads are 0 on both sides and count nothing. Everything but the
// halving is modulo 2^32, in which S fits.
struct PlanePass {
  std::uint8_t x, w;  ///< planes
  bool doubled;       ///< double what was counted before this pass
};

struct PlaneTile {
  const PlanePass* passes;
  std::size_t pass_count;
  std::uint32_t constant;  ///< S = constant - (P << left >> right): 2 P, P, P / 2 for none, one, two ternary sides
  int left, right;
  std::size_t blocks;      ///< of 32 codes along K to be read
  std::size_t rows;        ///< of x and y
  const std::uint32_t* x;  ///< [rows][planes][x_plane] dwords
  std::size_t x_stride, x_plane;
  const float* x_scale;    ///< [rows]
  const std::uint32_t* w;  ///< panels of [blocks][w_planes][16], panel_dwords apart
  std::size_t panel_dwords, w_planes;
  const float* w_scale;    ///< [16 * panels]
  std::size_t outputs;     ///< columns of y to be written
  float* y;
  std::size_t y_stride;
};

struct PlaneForms {
  void (*row)(const PlaneRowJob& job);
  /// Makes the x planes of one row what the tile wants; null: as they are. (blocks read, the plane's dwords)
  void (*combine)(std::size_t blocks, std::uint32_t* plane);
  void (*tile)(const PlaneTile& tile);
};

#if defined(__x86_64__)
extern const PlaneForms kPlaneFormsAvx2;
extern const PlaneForms kPlaneFormsPopcnt512;  ///< AVX-512 with VPOPCNTDQ
#endif
/// The forms of the instruction set in use.
const PlaneForms& plane_forms();

}  // namespace lowbit::kernels
