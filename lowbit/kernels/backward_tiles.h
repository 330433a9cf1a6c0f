#pragma once
#include <cstddef>
#include <span>

// How the backward products cut their work, whatever they multiply. Internal to kernels/.
namespace lowbit::kernels {

constexpr std::size_t ceil_div(std::size_t a, std::size_t b) { return (a + b - 1) / b; }

/// Packed operands of a slab of the contracted index: what fits the third-level cache, or what others leave of it.
inline constexpr std::size_t kSlabBytes = std::size_t{3} << 20;

/// The part of C that one task computes, in panels of A and of B.
struct Tile {
  std::size_t rows, columns;
};

/// The first of `tiles`, which go from large to small, that leaves enough tasks, or the last. all_columns: a task takes
/// every column of its rows.
constexpr Tile choose_tile(std::span<const Tile> tiles, std::size_t a_panels, std::size_t b_panels, bool all_columns) {
  constexpr std::size_t kEnough = 20;
  Tile tile{};
  for (const Tile& candidate : tiles) {
    tile = {candidate.rows, all_columns ? b_panels : candidate.columns};
    if (ceil_div(a_panels, tile.rows) * ceil_div(b_panels, tile.columns) >= kEnough) break;
  }
  return tile;
}

}  // namespace lowbit::kernels
