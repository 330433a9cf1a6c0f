#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "lowbit/formats/grid.h"

namespace lowbit {

/// Ids of the ways in which code matrices lie in files. An id fixes every byte (docs/reference/formats.md); ids are
/// never reused.
enum class LayoutId : std::uint32_t {
  canonical =
      1,      ///< row-major; code u in bits b*i and up of its row, low bits first; rows padded to whole bytes with 0
  pairs = 2,  ///< 2:4 in pairs: the survivors' codes as in layout 1, then a nibble for every 8 entries: which pairs
};

/// The layout of rows on this grid: `pairs` for 2:4 grids, else `canonical`.
constexpr LayoutId layout_of(const Grid& grid) { return grid.dense ? LayoutId::pairs : LayoutId::canonical; }

/// Bytes of one row of K codes in the canonical layout.
constexpr std::size_t canonical_row_bytes(const Grid& grid, std::size_t k) {
  return (k * static_cast<std::size_t>(grid.storage_bits) + 7) / 8;
}

/// codes: K bytes, each below grid.levels; out: canonical_row_bytes. E2M1 is stored as its four bits: sign, magnitude;
/// zero only as 0000.
void pack_canonical(const Grid& grid, std::span<const std::uint8_t> codes, std::span<std::uint8_t> out);
/// The reverse. throws Error(input) for a code that the grid does not have (the 3 of a ternary row, a negative zero).
void unpack_canonical(const Grid& grid, std::span<const std::uint8_t> packed, std::span<std::uint8_t> codes);

/// Bytes of one row of K codes in the layout of the grid. K of a 2:4 grid is a multiple of 8: K/2 codes of survivors
/// and K/8 nibbles, each part padded to whole bytes.
constexpr std::size_t stored_row_bytes(const Grid& grid, std::size_t k) {
  return grid.dense ? canonical_row_bytes(*grid.dense, k / 2) + (k / 8 + 1) / 2 : canonical_row_bytes(grid, k);
}
/// As above in the layout of the grid. Of a 2:4 grid exactly 2 of each 4 pairs have codes other than that of 0.
void pack_stored(const Grid& grid, std::span<const std::uint8_t> codes, std::span<std::uint8_t> out);
/// throws Error(input) also for a nibble that does not name two pairs in ascending order.
void unpack_stored(const Grid& grid, std::span<const std::uint8_t> packed, std::span<std::uint8_t> codes);

}  // namespace lowbit
