#pragma once
#include <algorithm>
#include <array>
#include <cassert>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "lowbit/base/math.h"
#include "lowbit/formats/bf16.h"
#include "lowbit/formats/format.h"

// The arithmetic, once, one value at a time: the definition that every kernel is tested against
// (docs/reference/arithmetic.md). Templates on the number type: float is what is shipped, double is what the golden
// runs of the reference code are compared with. Constants are rounded once to the type.
namespace lowbit::kernels::reference {

/// Order (b): 16 partial sums, element i to sum i mod 16 by fma, then one fixed tree.
template <class T, class Value>
T sum_of_products(std::size_t n, Value&& pair) {
  std::array<T, 16> part{};
  for (std::size_t i = 0; i < n; ++i) {
    const auto [a, b] = pair(i);
    part[i % 16] = math::fma(a, b, part[i % 16]);
  }
  for (std::size_t half = 8; half > 0; half /= 2)
    for (std::size_t i = 0; i < half; ++i) part[i] += part[i + half];
  return part[0];
}

template <class T>
T sum_of_squares(std::span<const T> x) {
  return sum_of_products<T>(x.size(), [&](std::size_t i) { return std::pair(x[i], x[i]); });
}

/// The float nearest to g^-1/2.
template <class T>
T hadamard_scale(int group) {
  return static_cast<T>(1.0 / math::sqrt(static_cast<double>(group)));
}

/// x H in place: groups of `group` neighbours, Sylvester order, butterflies of stage 1, 2, 4, ..., then one
/// multiplication. group 1 changes nothing. H is its own inverse.
template <class T>
void hadamard_row(std::span<T> x, int group) {
  if (group == 1) return;
  const auto g = static_cast<std::size_t>(group);
  assert(x.size() % g == 0);
  const T scale = hadamard_scale<T>(group);
  for (std::size_t base = 0; base < x.size(); base += g) {
    for (std::size_t stage = 1; stage < g; stage *= 2)
      for (std::size_t i = 0; i < g; i += 2 * stage)
        for (std::size_t j = i; j < i + stage; ++j) {
          const T a = x[base + j], b = x[base + j + stage];
          x[base + j] = a + b;
          x[base + j + stage] = a - b;
        }
    for (std::size_t i = 0; i < g; ++i) x[base + i] *= scale;
  }
}

template <class T>
struct CodedRow {
  T scale;                     ///< h: a value is o * h
  T threshold;                 ///< trusted where |x_h| <= threshold,
  T hole_begin, hole_end;      ///< but not where hole_begin < |x_h| <= hole_end;
  T pruned;                    ///< what 2:4 pruned: where |x_h| <= pruned
};

/// The scale of a row, of its RMS r (or its largest magnitude under absmax; or the learned step in r's place): h, and
/// what x is multiplied by before its cell is found.
template <class T>
struct RowScale {
  T scale, cells;
};
template <class T>
RowScale<T> row_scale(const Grid& grid, ScaleRule rule, T r, T largest) {
  const T tiny = static_cast<T>(1e-8);
  if (rule == ScaleRule::deviation) return {r + tiny, T{1} / (r + tiny)};
  if (rule == ScaleRule::learned) return {grid.zero_is_level ? r : r * T{0.5}, T{1} / r};
  if (grid.cells == Cells::table) return {r + tiny, T{1} / (r + tiny)};
  if (grid.cells == Cells::e2m1) {
    const T s = rule == ScaleRule::absmax ? largest / static_cast<T>(grid.extent) + tiny
                                          : static_cast<T>(grid.alpha) * (r + tiny);
    const T h = s * T{0.5};
    return {h, T{-2} / h};
  }
  const T s = (rule == ScaleRule::absmax ? largest : static_cast<T>(grid.alpha) * r) + tiny;
  const T step = grid.zero_is_level ? s : (T{2} * s) / static_cast<T>(grid.levels - 1);
  return {grid.zero_is_level ? s : step * T{0.5}, T{1} / step};
}

/// Where a grid with a learned step clamps, in units of the step.
template <class T = float>
T step_edge(const Grid& grid) {
  return static_cast<T>(grid.zero_is_level ? grid.levels / 2 : 0.5 * (grid.levels - 1));
}

/// Edge between levels u and u + 1 of a table, in units of h. A tie goes to the lower level.
template <class T>
T table_edge(const Grid& grid, int u) {
  return static_cast<T>((grid.level[u] + grid.level[u + 1]) / 2);
}

/// Code of an entry that was multiplied by RowScale::cells.
template <class T>
std::uint8_t code_of(T scaled, const Grid& grid) {
  // In this order a NaN gives the lowest cell, as the processor's max and min do.
  const auto clamped = [](T cell, int lowest, int highest) {
    const T lo = static_cast<T>(lowest), hi = static_cast<T>(highest);
    const T low = cell > lo ? cell : lo;
    return static_cast<int>(low < hi ? low : hi) - lowest;
  };
  if (grid.cells == Cells::table) {
    std::uint8_t u = 0;
    while (u + 1 < grid.levels && scaled > table_edge<T>(grid, u)) ++u;
    return u;
  }
  if (grid.cells == Cells::e2m1)
    return kE2m1Cells.code[clamped(math::floor(scaled), kE2m1Lowest, kE2m1Highest)];
  const T cell = math::floor(grid.zero_is_level ? scaled + T{0.5} : scaled);
  return static_cast<std::uint8_t>(clamped(cell, grid.lowest(), grid.highest()));
}

/// factor * r, but infinity for infinity, also in a row of zeros, where infinity * r would be NaN.
template <class T>
T trust_threshold(double factor, T r) {
  const T edge = static_cast<T>(factor);
  return edge == std::numeric_limits<T>::infinity() ? edge : edge * r;
}

/// Which pairs of 8 entries are pruned: the two with the least a * a + b * b (three roundings), of equal ones the
/// first. returns bit i for pair i.
template <class T>
unsigned pruned_pairs(const T* x) {
  std::array<T, 4> norm;
  for (std::size_t i = 0; i < 4; ++i) norm[i] = x[2 * i] * x[2 * i] + x[2 * i + 1] * x[2 * i + 1];
  unsigned pruned = 0;
  for (std::size_t i = 0; i < 4; ++i) {
    int before = 0;  // pairs that are pruned rather than this one
    for (std::size_t j = 0; j < 4; ++j) before += j != i && (norm[j] < norm[i] || (j < i && !(norm[i] < norm[j])));
    if (before < 2) pruned |= 1u << i;
  }
  return pruned;
}

/// A row coded on the dense grid to its 2:4 form: survivors' u = 2 u_dense, the rest the code of 0.
template <class T>
void prune_row(std::span<const T> x, const Grid& grid, std::uint8_t* codes) {
  assert(x.size() % 8 == 0);
  const auto zero = static_cast<std::uint8_t>(-grid.lowest());
  for (std::size_t i = 0; i < x.size(); i += 8) {
    const unsigned pruned = pruned_pairs(x.data() + i);
    for (std::size_t j = 0; j < 8; ++j)
      codes[i + j] = pruned >> j / 2 & 1 ? zero : static_cast<std::uint8_t>(2 * codes[i + j]);
  }
}

/// The h of a 2:4 row that fits its survivors best, their codes as they are: sum x o / sum o o, each in order (b); the
/// one that was, where that is not positive.
template <class T>
T refitted_scale(std::span<const T> x, const Grid& grid, const std::uint8_t* codes, T scale) {
  const auto value = [&](std::size_t i) { return static_cast<T>(grid.value_of_code(codes[i])); };
  const T cross = sum_of_products<T>(x.size(), [&](std::size_t i) { return std::pair(x[i], value(i)); });
  const T squares = sum_of_products<T>(x.size(), [&](std::size_t i) { return std::pair(value(i), value(i)); });
  const T fitted = cross / squares;
  return fitted > T{0} ? fitted : scale;
}

template <class T>
T rms(std::span<const T> x) {
  return math::sqrt(sum_of_squares(x) / static_cast<T>(x.size()));
}

/// Factors of the RMS that ScaleRule::mse tries, in this order: .60, .65, ... 1.30.
inline constexpr int kScaleFactors = 15;
template <class T>
T scale_factor(int i) {
  return static_cast<T>((60 + 5 * i) / 100.0);
}
/// factor * r that codes the row with the least sum of squared errors, in order (b), pruned entries as zeros; of equal
/// ones the first. r itself where none is finite.
template <class T>
T best_rms(std::span<const T> x, const Grid& grid, T r) {
  T best = r, least = std::numeric_limits<T>::infinity();
  for (int candidate = 0; candidate < kScaleFactors; ++candidate) {
    const T scaled = scale_factor<T>(candidate) * r;
    const RowScale<T> s = row_scale(grid, ScaleRule::rms, scaled, T{0});
    const T error = sum_of_products<T>(x.size(), [&](std::size_t i) {
      const T e = x[i] - static_cast<T>(grid.value(code_of(x[i] * s.cells, grid))) * s.scale;
      return std::pair(e, e);
    });
    if (error < least) least = error, best = scaled;
  }
  return best;
}

/// In order (b).
template <class T>
T row_sum(std::span<const T> x) {
  return sum_of_products<T>(x.size(), [&](std::size_t i) { return std::pair(x[i], T{1}); });
}
/// The offset of Shift::mean: sum / K, the sum in order (b).
template <class T>
T row_mean(std::span<const T> x) {
  return row_sum(x) / static_cast<T>(x.size());
}

/// What is coded of a row on a side with a shift: x - offset, after the rotation and before code_row.
template <class T>
void shift_row(std::span<T> x, T offset) {
  for (T& value : x) value -= offset;
}

/// Codes one row, already rotated and shifted. codes[i] = u.
template <class T>
CodedRow<T> code_row(std::span<const T> x, const SideCoding& side, std::uint8_t* codes) {
  const Grid& grid = side.grid->dense ? *side.grid->dense : *side.grid;
  const T r = side.scale == ScaleRule::learned ? static_cast<T>(side.step)
              : side.scale == ScaleRule::mse   ? best_rms(x, grid, rms(x))
                                               : rms(x);
  T largest = 0;
  if (side.scale == ScaleRule::absmax)
    for (const T value : x) largest = std::abs(value) > largest ? std::abs(value) : largest;
  RowScale<T> s = row_scale(grid, side.scale, r, largest);
  for (std::size_t i = 0; i < x.size(); ++i) codes[i] = code_of(x[i] * s.cells, grid);
  if (side.grid->dense) {
    prune_row(x, *side.grid, codes);
    if (side.sparse_scale == SparseScale::refit) s.scale = refitted_scale(x, *side.grid, codes, s.scale);
  }
  const T unit = std::abs(r);  // a learned step may have crossed zero
  return {s.scale, trust_threshold(side.trust.edge, unit), trust_threshold(side.trust.hole_begin, unit),
          trust_threshold(side.trust.hole_end, unit), trust_threshold(side.trust.pruned, unit)};
}

/// The row's RMS sets its scale; trust_factor: infinity to trust all.
template <class T>
CodedRow<T> code_row(std::span<const T> x, const Grid& grid, double trust_factor, std::uint8_t* codes) {
  return code_row<T>(x, SideCoding{&grid, trust_factor}, codes);
}

template <class T>
bool trusted(T x, T threshold) {
  return std::abs(x) <= threshold;
}
/// pruned: the entry's code says that 2:4 pruned it.
template <class T>
bool trusted(T x, const CodedRow<T>& row, bool pruned) {
  const T size = std::abs(x);
  if (pruned) return size <= row.pruned;
  return size <= row.threshold && !(size <= row.hole_end && !(size <= row.hole_begin));
}
/// Whether a code of this grid stands for a pruned entry.
inline bool is_pruned(const Grid& grid, std::uint8_t code) { return grid.dense && grid.value_of_code(code) == 0; }

/// y = float(sum o_x o_w) * (h_x * h_w): the sum is exact, so its order is free.
template <class T>
T code_product(std::span<const std::uint8_t> x, const Grid& x_grid, T x_scale, std::span<const std::uint8_t> w,
               const Grid& w_grid, T w_scale) {
  std::int64_t sum = 0;
  for (std::size_t i = 0; i < x.size(); ++i)
    sum += std::int64_t{x_grid.value_of_code(x[i])} * w_grid.value_of_code(w[i]);
  assert(sum <= 2147483647 && sum >= -2147483647);
  return static_cast<T>(static_cast<std::int32_t>(sum)) * (x_scale * w_scale);
}

/// y of a weight row with several scales, each of equally many columns: the slices' products in their order, each sum
/// rounded. product   (slice): the product of its columns.
template <class T, class Product>
T sum_of_slices(std::size_t slices, Product&& product) {
  T y = product(0);
  for (std::size_t s = 1; s < slices; ++s) y = y + product(s);
  return y;
}

/// What an offset of the inputs adds to a product's output: offset * (float(sum of o_w) * h_w), to be added to
/// code_product. levels: the sum of o_w, exact.
template <class T>
T offset_term(T offset, std::int64_t levels, T w_scale) {
  return offset * (static_cast<T>(static_cast<std::int32_t>(levels)) * w_scale);
}

/// What a weight row's offset adds after that: (what the input's row adds up to) * offset. The first is float(sum of
/// o_x) * h_x + float(K) * (the inputs' offset), or of float inputs the sum in order (b).
template <class T>
T input_sum(std::int64_t levels, T x_scale, std::size_t k, T x_offset) {
  return static_cast<T>(static_cast<std::int32_t>(levels)) * x_scale + static_cast<T>(k) * x_offset;
}

/// Order (a): strictly one after another.
template <class T>
T product_a(std::span<const T> a, std::span<const T> b) {
  T acc = 0;
  for (std::size_t i = 0; i < a.size(); ++i) acc = math::fma(a[i], b[i], acc);
  return acc;
}

/// wXa16, and tables, whose x is float(level) * h_x: order (a) over float(o) * x, then one multiplication by h.
template <class T>
T wide_product(std::span<const T> x, std::span<const std::uint8_t> w, const Grid& grid, T w_scale) {
  T acc = 0;
  for (std::size_t i = 0; i < x.size(); ++i)
    acc = math::fma(static_cast<T>(grid.value(w[i])), x[i], acc);
  return acc * w_scale;
}

/// Order (c): bfloat16 operands, pairs over the contracted index, the odd one first; an odd end is paired with zeros.
inline float product_c(std::span<const bf16> a, std::span<const bf16> b) {
  float acc = 0;
  for (std::size_t i = 0; i < a.size(); i += 2) {
    const bool whole = i + 1 < a.size();
    acc = math::fma(whole ? to_float(a[i + 1]) : 0.0f, whole ? to_float(b[i + 1]) : 0.0f, acc);
    acc = math::fma(to_float(a[i]), to_float(b[i]), acc);
  }
  return acc;
}

/// y = (x * inv) * weight, inv = 1 / sqrt(mean of squares + eps). returns inv.
template <class T>
T rms_norm_row(std::span<const T> x, std::span<const T> weight, T eps, std::span<T> y) {
  const T mean = sum_of_squares(x) / static_cast<T>(x.size());
  const T inv = T{1} / math::sqrt(mean + eps);
  for (std::size_t i = 0; i < x.size(); ++i) y[i] = (x[i] * inv) * weight[i];
  return inv;
}

/// Angle of pair i at a position: position * theta^(-2i/d), in double whatever T is; cos and sin rounded once to T.
template <class T>
std::pair<T, T> rope_cos_sin(std::int64_t position, std::size_t i, std::size_t head_dim, double theta) {
  const double frequency = math::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(head_dim));
  const double angle = static_cast<double>(position) * frequency;
  return {static_cast<T>(math::cos(angle)), static_cast<T>(math::sin(angle))};
}

/// Rotates one head in place: half-split pairs (i, i + d/2), as Hugging Face stores them. cos, sin: d/2 each.
template <class T>
void rope_row(std::span<T> x, std::span<const T> cos, std::span<const T> sin) {
  const std::size_t half = x.size() / 2;
  for (std::size_t i = 0; i < half; ++i) {
    const T a = x[i], b = x[i + half];
    x[i] = a * cos[i] - b * sin[i];
    x[i + half] = b * cos[i] + a * sin[i];
  }
}

/// silu(gate) * up, silu(x) = x / (1 + exp(-x)).
template <class T>
T swiglu(T gate, T up) {
  return gate / (T{1} + math::exp(-gate)) * up;
}

/// Keys are walked in absolute blocks of this many, whatever the chunk.
inline constexpr std::size_t kKeyBlock = 64;

/// One query head against keys 0 .. n-1 (n >= 1): out = softmax(q k^T / sqrt(d)) v with one running maximum and sum.
/// key(j), value(j): spans of d. returns the log of the softmax's denominator, for the backward pass.
///  score_j = (q . k_j in order (a), or (c) for bfloat16) * scale
///  per block: m' = max(m, scores); c = exp(m - m'); p_j = exp(score_j - m');
///             l = fma(l, c, S), S = the p_j summed in 16 partial sums (key j to sum j mod 16) and the tree of order
///             (b) out = out * c, then in order (a) over j: fma(p_j, v_j, out); bfloat16: p_j rounded, order (c)
///  at last out * (1 / l).
template <class T, class Key, class Value>
T attention_row(std::span<const T> q, std::size_t n, Key&& key, Value&& value, std::span<T> out) {
  const T scale = static_cast<T>(1.0 / math::sqrt(static_cast<double>(q.size())));
  T m = -std::numeric_limits<T>::infinity(), l = 0;
  std::fill(out.begin(), out.end(), T{0});
  std::array<T, kKeyBlock> p;
  for (std::size_t begin = 0; begin < n; begin += kKeyBlock) {
    const std::size_t count = std::min(kKeyBlock, n - begin);
    T top = m;
    for (std::size_t j = 0; j < count; ++j) {
      p[j] = product_a<T>(q, key(begin + j)) * scale;
      top = p[j] > top ? p[j] : top;
    }
    const T c = math::exp(m - top);
    std::array<T, 16> part{};
    for (std::size_t j = 0; j < count; ++j) {
      p[j] = math::exp(p[j] - top);
      part[j % 16] += p[j];
    }
    for (std::size_t half = 8; half > 0; half /= 2)
      for (std::size_t i = 0; i < half; ++i) part[i] += part[i + half];
    l = math::fma(l, c, part[0]);
    for (std::size_t d = 0; d < out.size(); ++d) {
      T acc = out[d] * c;
      for (std::size_t j = 0; j < count; ++j) acc = math::fma(p[j], value(begin + j)[d], acc);
      out[d] = acc;
    }
    m = top;
  }
  const T inverse = T{1} / l;
  for (T& o : out) o *= inverse;
  return m + static_cast<T>(math::log(static_cast<double>(l)));
}

/// The same with q, k, v and the p_j rounded to bfloat16 and products of order (c); S sums the unrounded p_j.
/// An absent key completes a pair as p = 0, v = 0.
template <class Key, class Value>
float attention_row_bf16(std::span<const bf16> q, std::size_t n, Key&& key, Value&& value, std::span<float> out) {
  const float scale = static_cast<float>(1.0 / math::sqrt(static_cast<double>(q.size())));
  float m = -std::numeric_limits<float>::infinity(), l = 0;
  std::fill(out.begin(), out.end(), 0.0f);
  std::array<float, kKeyBlock> p;
  for (std::size_t begin = 0; begin < n; begin += kKeyBlock) {
    const std::size_t count = std::min(kKeyBlock, n - begin);
    float top = m;
    for (std::size_t j = 0; j < count; ++j) {
      p[j] = product_c(q, key(begin + j)) * scale;
      top = p[j] > top ? p[j] : top;
    }
    const float c = math::exp(m - top);
    std::array<float, 16> part{};
    for (std::size_t j = 0; j < count; ++j) {
      p[j] = math::exp(p[j] - top);
      part[j % 16] += p[j];
      p[j] = to_float(to_bf16(p[j]));
    }
    for (std::size_t half = 8; half > 0; half /= 2)
      for (std::size_t i = 0; i < half; ++i) part[i] += part[i + half];
    l = math::fma(l, c, part[0]);
    for (std::size_t d = 0; d < out.size(); ++d) {
      float acc = out[d] * c;
      for (std::size_t j = 0; j < count; j += 2) {
        const bool whole = j + 1 < count;
        acc = math::fma(whole ? p[j + 1] : 0.0f, whole ? to_float(value(begin + j + 1)[d]) : 0.0f, acc);
        acc = math::fma(p[j], to_float(value(begin + j)[d]), acc);
      }
      out[d] = acc;
    }
    m = top;
  }
  const float inverse = 1.0f / l;
  for (float& o : out) o *= inverse;
  return m + static_cast<float>(math::log(static_cast<double>(l)));
}

/// Negative log likelihood of `target` in nats, in double from the logits: log(sum exp(z - max)) + max - z_target, the
/// sum in 16 partial sums and the tree of order (b).
template <class T>
double cross_entropy_row(std::span<const T> logits, std::size_t target) {
  T top = logits[0];
  for (const T z : logits) top = z > top ? z : top;
  const double sum = sum_of_products<double>(logits.size(), [&](std::size_t i) {
    return std::pair(math::exp(static_cast<double>(logits[i]) - static_cast<double>(top)), 1.0);
  });
  return math::log(sum) + (static_cast<double>(top) - static_cast<double>(logits[target]));
}

}  // namespace lowbit::kernels::reference
