#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <string_view>

namespace lowbit {

/// How a grid's cells lie, that is, how an entry finds its code.
enum class Cells : std::uint8_t {
  uniform,  ///< steps of one size
  e2m1,     ///< the fifteen values of a 4-bit float: steps that grow with the magnitude
  table,    ///< levels listed in units of the row's RMS; no integers stand for them
};

/// The levels that one side of a product may take: a row of x is stored as integers k and one float h, and stands for
/// o * h with o = multiplier * k + addend (a table's levels take o's place). Source: QuEST (arXiv 2502.05003), section
/// 3; docs/reference/arithmetic.md, "Coding a row".
struct Grid {
  std::uint32_t id;         ///< what files store: never reused, never renumbered
  std::string_view name;    ///< as in a format's word: w4a4 has the grid "4" twice
  int levels;               ///< n, of the codes that kernels read (e2m1 and 2:4 leave some of them out)
  int storage_bits;         ///< of one code as stored (formats/layout.h)
  double alpha;             ///< s in units of the row's RMS: half the extent of a uniform grid
  double trust_edge;        ///< c: an entry is trusted where |x| <= c * alpha * r
  bool zero_is_level;       ///< mid-tread: o = k, step = s (ternary); otherwise mid-rise: o = 2k + 1, step = 2s/(n-1)
  double bits;              ///< log2(levels), for tables
  Cells cells = Cells::uniform;
  double extent = 1;             ///< the largest value in units of s
  const Grid* dense = nullptr;   ///< of a 2:4 grid: what its survivors are coded on; o = 0 is what was pruned
  const double* level = nullptr; ///< of a table: [levels], ascending

  constexpr int lowest() const { return zero_is_level ? -(levels / 2) : -levels / 2; }
  constexpr int highest() const { return zero_is_level ? levels / 2 : levels / 2 - 1; }
  constexpr int multiplier() const { return zero_is_level ? 1 : 2; }
  constexpr int addend() const { return zero_is_level ? 0 : 1; }
  /// Code u = k - lowest(), so u is in [0, n).
  constexpr int value_of_code(int u) const { return multiplier() * (u + lowest()) + addend(); }
  /// What h is multiplied by: o, or a table's level.
  constexpr double value(int u) const { return level ? level[u] : value_of_code(u); }
  /// The largest |o|.
  constexpr int largest() const { return zero_is_level ? levels / 2 : levels - 1; }
  /// Whether every value is an integer times h, so that products are exact integer sums.
  constexpr bool integer() const { return cells != Cells::table; }
  /// Whether codes are stored as they are, at storage_bits each.
  constexpr bool plain() const { return cells == Cells::uniform && !dense; }
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

/// FP4 (E2M1): values o * s / 2 with o in {0, 1, 2, 3, 4, 6, 8, 12} of either sign. Kernels read u = o + 12. The alpha
/// is the reference code's; trusted up to half an outermost interval past the largest value: 7 alpha r.
inline constexpr Grid kE2m1Grid{10, "fp4", 25, 4, 0.48707976, 7, true, 3.906890595608519, Cells::e2m1, 6};

/// o of each magnitude of E2M1: bits 0 to 2 of its stored form, bit 3 is the sign.
inline constexpr std::array kE2m1Magnitudes{0, 1, 2, 3, 4, 6, 8, 12};
/// T of the trust rule |xq - x| <= T r that the reference code's FP4 runs had: that of a 16-level Gaussian grid.
inline constexpr double kE2m1TrustOfCode = 0.3185765743255615;

/// Cell c of an E2M1 row is floor(-2 x / h): x / h lies in [-(c + 1) / 2, -c / 2), open below, so that a tie between
/// levels, which always lies where -2 x / h is whole, goes to the lower one. c is clamped to kE2m1Lowest ..
/// kE2m1Highest.
inline constexpr int kE2m1Lowest = -21, kE2m1Highest = 20;
/// code[c - kE2m1Lowest] of cell c; three groups of 16 bytes for table look-ups in registers.
struct E2m1Cells {
  std::uint8_t code[48];
};
inline constexpr E2m1Cells kE2m1Cells = [] {
  E2m1Cells cells{};
  constexpr int levels[] = {-12, -8, -6, -4, -3, -2, -1, 0, 1, 2, 3, 4, 6, 8, 12};
  for (int c = kE2m1Lowest; c <= kE2m1Highest; ++c) {
    int i = 0;  // above each tie, (o + o') / 2, that x / h exceeds: exactly where -c exceeds o + o'
    while (i + 1 < 15 && -c > levels[i] + levels[i + 1]) ++i;
    cells.code[c - kE2m1Lowest] = static_cast<std::uint8_t>(levels[i] + 12);
  }
  return cells;
}();

/// 2:4 in pairs: of every 8 neighbours, as 4 pairs, 2 pairs survive on the dense grid and the rest is o = 0 (QuEST,
/// sec. 4). Kernels read u = o + n - 1. Mid-rise grids of up to 7 bits: at 8 bits and with a zero a value would not fit
/// a byte.
constexpr Grid pairs_grid(const Grid& dense, std::string_view name) {
  Grid grid = dense;
  grid.id = 40 + dense.id;
  grid.name = name;
  grid.levels = 2 * dense.levels - 1;
  grid.zero_is_level = true;
  grid.bits = dense.bits / 2 + 0.5;
  grid.dense = &dense;
  return grid;
}
inline constexpr std::array kPairsGrids{
    pairs_grid(kGrids[0], "1+2:4"), pairs_grid(kGrids[2], "2+2:4"), pairs_grid(kGrids[3], "3+2:4"),
    pairs_grid(kGrids[4], "4+2:4"), pairs_grid(kGrids[5], "5+2:4"), pairs_grid(kGrids[6], "6+2:4"),
    pairs_grid(kGrids[7], "7+2:4"),
};

/// Lloyd-Max levels on N(0,1), in units of r. The first tables are the reference code's (20 iterations from an even
/// start, in float32, far from converged at 3 and 4 bits); the second are converged.
inline constexpr double kGaussian1[]{-0.7978845834732056, 0.7978845834732056};
inline constexpr double kGaussian2[]{-1.510452151298523, -0.4527967572212219, 0.4527967572212219, 1.510452151298523};
inline constexpr double kGaussian3[]{-2.198542594909668, -1.390726923942566, -0.7900571823120117, -0.2575063407421112,
                                     0.2575063407421112, 0.7900571823120117, 1.390726923942566,   2.198542594909668};
inline constexpr double kGaussian4[]{-2.9699926376342773, -2.3328394889831543, -1.8827999830245972, -1.501692771911621,
                                     -1.1515403985977173, -0.816109836101532,  -0.4876568615436554, -0.1622665524482727,
                                     0.1622665524482727,  0.4876568615436554,  0.816109836101532,   1.1515403985977173,
                                     1.501692771911621,   1.8827999830245972,  2.3328394889831543,  2.9699926376342773};
inline constexpr double kConverged2[]{-1.5104176084990957, -0.45278003463649213, 0.45278003463649213,
                                      1.5104176084990957};
inline constexpr double kConverged3[]{-2.1519457045369887,  -1.3439092785050004, -0.7560052812058775,
                                      -0.24509417894422147, 0.24509417894422147, 0.7560052812058775,
                                      1.3439092785050004,   2.1519457045369887};
inline constexpr double kConverged4[]{
    -2.73258957099515,   -2.0690172265313915, -1.6180463860218806,  -1.2562311973471765,
    -0.9423404564869614, -0.6567591185324634, -0.38804829949029046, -0.12839502985114665,
    0.12839502985114665, 0.38804829949029046, 0.6567591185324634,   0.9423404564869614,
    1.2562311973471765,  1.6180463860218806,  2.0690172265313915,   2.73258957099515};
/// A table's s is r itself, and its trust reaches half of its outermost gap past its largest level.
constexpr Grid table_grid(std::uint32_t id, std::string_view name, int bits, const double* level) {
  const int n = 1 << bits;
  const double largest = level[n - 1], half_gap = (level[n - 1] - level[n - 2]) / 2;
  return {id,           name,    n,       bits, 1, largest + half_gap, false, static_cast<double>(bits),
          Cells::table, largest, nullptr, level};
}
inline constexpr std::array kGaussianGrids{table_grid(21, "1", 1, kGaussian1), table_grid(22, "2", 2, kGaussian2),
                                           table_grid(23, "3", 3, kGaussian3), table_grid(24, "4", 4, kGaussian4)};
inline constexpr std::array kConvergedGrids{table_grid(31, "1", 1, kGaussian1), table_grid(32, "2", 2, kConverged2),
                                            table_grid(33, "3", 3, kConverged3), table_grid(34, "4", 4, kConverged4)};

/// nullptr when there is none of that name: a row of kGrids.
constexpr const Grid* find_grid(std::string_view name) {
  for (const Grid& grid : kGrids)
    if (grid.name == name) return &grid;
  return nullptr;
}
/// The 2:4 form of a grid of kGrids, or nullptr.
constexpr const Grid* find_pairs_grid(const Grid& dense) {
  for (const Grid& grid : kPairsGrids)
    if (grid.dense == &dense) return &grid;
  return nullptr;
}

/// Every grid there is: rows of the tables above.
inline std::array<const Grid*, kGrids.size() + 1 + kPairsGrids.size() + kGaussianGrids.size() + kConvergedGrids.size()>
every_grid() {
  std::array<const Grid*, kGrids.size() + 1 + kPairsGrids.size() + kGaussianGrids.size() + kConvergedGrids.size()>
      all{};
  std::size_t i = 0;
  for (const Grid& grid : kGrids) all[i++] = &grid;
  all[i++] = &kE2m1Grid;
  for (const Grid& grid : kPairsGrids) all[i++] = &grid;
  for (const Grid& grid : kGaussianGrids) all[i++] = &grid;
  for (const Grid& grid : kConvergedGrids) all[i++] = &grid;
  return all;
}

/// The longest row (K) whose integer sum of products fits an int32 for this pair of grids: 2^31 - 1 over the largest
/// product of two values. throws nothing; callers refuse longer rows.
constexpr std::int64_t longest_row(const Grid& a, const Grid& b) {
  return ((std::int64_t{1} << 31) - 1) / (static_cast<std::int64_t>(a.largest()) * b.largest());
}

}  // namespace lowbit
