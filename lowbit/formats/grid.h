#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <string_view>

namespace lowbit {

/// The levels that one side of a product may take: a row of x is stored as integers k and one float h, and stands for
/// o * h with o = multiplier * k + addend. Source: QuEST (arXiv 2502.05003), section 3; docs/numerics.md, "Coding a row".
struct Grid {
  std::uint32_t id;         ///< what files store: never reused, never renumbered
  std::string_view name;    ///< as in a format's word: w4a4 has the grid "4" twice
  int levels;               ///< n
  int storage_bits;         ///< of one code in the canonical layout
  double alpha;             ///< half the grid's extent in units of the row's RMS
  double trust_edge;        ///< c: an entry is trusted where |x| <= c * alpha * r
  bool zero_is_level;       ///< mid-tread (ternary): o = k, step = s; otherwise mid-rise: o = 2k + 1, step = 2s/(n-1)
  double bits;              ///< log2(levels), for tables

  constexpr int lowest() const { return zero_is_level ? -(levels / 2) : -levels / 2; }
  constexpr int highest() const { return zero_is_level ? levels / 2 : levels / 2 - 1; }
  constexpr int multiplier() const { return zero_is_level ? 1 : 2; }
  constexpr int addend() const { return zero_is_level ? 0 : 1; }
  /// Code u = k - lowest(), so u is in [0, n).
  constexpr int value_of_code(int u) const { return multiplier() * (u + lowest()) + addend(); }
  /// The largest |o|.
  constexpr int largest() const { return zero_is_level ? levels / 2 : levels - 1; }
};

/// 1 to 8 bits and ternary. The alphas are the constants that the published runs used (reference code), not the exact
/// optima. A new bit-width is a line here, golden bytes in a test, and a paragraph in docs.
inline constexpr std::array kGrids{
    Grid{1, "1", 2, 1, 0.7978845587140913, 2.0, false, 1},
    Grid{2, "1.58", 3, 2, 1.2240089519030855, 1.5, true, 1.584962500721156},
    Grid{3, "2", 4, 2, 1.4935346200015913, 4.0 / 3, false, 2},
    Grid{4, "3", 8, 3, 2.051068354131873, 8.0 / 7, false, 3},
    Grid{5, "4", 16, 4, 2.513930578568423, 16.0 / 15, false, 4},
    Grid{6, "5", 32, 5, 2.9160938834961225, 32.0 / 31, false, 5},
    Grid{7, "6", 64, 6, 3.276597282593217, 64.0 / 63, false, 6},
    Grid{8, "7", 128, 7, 3.6010497188221655, 128.0 / 127, false, 7},
    Grid{9, "8", 256, 8, 3.884938678807525, 256.0 / 255, false, 8},
};

/// nullptr when there is none of that name.
constexpr const Grid* find_grid(std::string_view name) {
  for (const Grid& grid : kGrids)
    if (grid.name == name) return &grid;
  return nullptr;
}

/// The longest row (K) whose integer sum of products fits an int32 for this pair of grids: 2^31 - 1 over the largest
/// product of two values. throws nothing; callers refuse longer rows.
constexpr std::int64_t longest_row(const Grid& a, const Grid& b) {
  return ((std::int64_t{1} << 31) - 1) / (static_cast<std::int64_t>(a.largest()) * b.largest());
}

}  // namespace lowbit
