#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>

#include "lowbit/base/aligned.h"
#include "lowbit/base/executor.h"
#include "lowbit/kernels/code_rows.h"

namespace lowbit::kernels {

/// Bit planes that codes of a grid are taken apart into: a value is the sum of its planes' bits, each +1 or -1, times
/// 2^plane (ternary: half the sum of two planes of equal weight, [u >= 1] and [u >= 2]).
constexpr int plane_count(const Grid& grid) { return std::bit_width(static_cast<unsigned>(grid.levels) - 1u); }
/// Up to 4 bits: more planes than that are slower than bytes everywhere.
constexpr bool has_planes(const Grid& grid) {
  return grid.levels <= 16 && grid.cells == Cells::uniform && (!grid.zero_is_level || grid.levels == 3);
}
/// Dwords of one plane of one row of K codes: 32 codes a dword, rows as wide as those of bytes.
constexpr std::size_t plane_blocks(std::size_t k) { return code_stride(k) / 32; }

/// Coded weights as bit planes, as plane_product reads them; memory belongs to another.
/// Bit 8 j + i of a dword is code 4 i + j of its block of 32 codes, so that a dword's bytes are its codes' bytes.
struct PlaneBits {
  const Grid* grid = nullptr;
  std::size_t n = 0, k = 0;
  const std::uint32_t* data = nullptr;  ///< [ceil(n/16)][plane_blocks(k)][planes][16] dwords, 64-byte aligned; pads 0
  const float* scale = nullptr;         ///< [n rounded up to 16]: h; pads 0
};

/// The same with memory of its own.
struct PlanePanels {
  const Grid* grid = nullptr;
  std::size_t n = 0, k = 0;
  Buffer<std::uint32_t> data;
  Buffer<float> scale;
  PlaneBits bits() const { return {grid, n, k, data.data(), scale.data()}; }
};

/// Builds planes from coded rows (codes and scale are read). Requires has_planes(grid), asserted.
void make_plane_panels(Executor& executor, const Grid& grid, std::size_t n, std::size_t k, const CodedRows& weights,
                       PlanePanels& panels);

}  // namespace lowbit::kernels
