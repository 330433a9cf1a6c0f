#pragma once
#include <cassert>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "golden/fast_product.h"
#include "lowbit/formats/format.h"
#include "lowbit/kernels/reference.h"
#include "lowbit/kernels/reference_backward.h"

// A linear layer with coded operands, forward and backward, out of lowbit/kernels/reference.h on whole matrices.
namespace lowbit::golden {

namespace reference = kernels::reference;

/// Where the code of the paper decides otherwise than lowbit: within 1e-8 of an edge. The golden runs named `@closed`
/// follow lowbit's rules; plain names have a literal mask; `@tie0` has a literal mask and zero_goes_down.
struct EdgeRules {
  enum class Mask {
    closed,         ///< |x| <= c alpha r
    literal_trust,  ///< |xq - x| <= T r, T = alpha / (n - 1), or `trust` where it is given
    literal_clip,   ///< |x| <= c (alpha r + 1e-8)
  };
  Mask mask = Mask::closed;
  bool zero_goes_down = false;  ///< an exact 0 takes the cell below it (half to even), in place of the one above
  /// FP4 levels as the code of the paper has them, each product of a magnitude and alpha rounded to float32; and 2:4
  /// rows with its epsilon, s = alpha (r + 1e-8).
  bool scales_of_code = false;
};

/// T of the literal rule |xq - x| <= T r.
inline double literal_trust(const Grid& side, Fp4Threshold threshold) {
  const Grid& grid = side.dense ? *side.dense : side;
  if (grid.cells == Cells::e2m1) return threshold == Fp4Threshold::code ? kE2m1TrustOfCode : grid.alpha;
  return grid.cells == Cells::table ? grid.trust_edge - grid.extent : grid.alpha / (grid.levels - 1);
}

/// A level of FP4 in units of r as the code of the paper has it.
template <class T>
T rounded_level(std::uint8_t u) {
  return static_cast<T>(static_cast<float>(kE2m1Grid.value(u) / 2 * kE2m1Grid.alpha));
}
/// Code of the nearest of them, the lower of two.
template <class T>
std::uint8_t nearest_rounded(T x) {
  std::uint8_t best = 0;
  for (const int o : {-12, -8, -6, -4, -3, -2, -1, 0, 1, 2, 3, 4, 6, 8, 12}) {
    const auto u = static_cast<std::uint8_t>(o + 12);
    if (std::abs(x - rounded_level<T>(u)) < std::abs(x - rounded_level<T>(best))) best = u;
  }
  return best;
}

/// One side of a product as it enters it: rows of x H, coded or not.
template <class T>
struct Operand {
  std::size_t rows = 0, k = 0;
  int group = 1;                      ///< of the rotation, 1 for none
  const Grid* grid = nullptr;         ///< null: not coded
  std::vector<std::uint8_t> codes;    ///< [rows, k], empty when not coded
  std::vector<T> scales;              ///< [rows], h; empty when not coded
  std::vector<T> values;              ///< [rows, k]: o * h, or x H itself when not coded
  std::vector<std::uint8_t> trusted;  ///< [rows, k], 0 or 1; empty when not coded

  /// The integers o as numbers, or a table's levels.
  template <class U>
  std::vector<U> numbers() const {
    std::vector<U> out(codes.size());
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<U>(grid->value(codes[i]));
    return out;
  }
  bool rounded = false;  ///< values are not o * h: EdgeRules::scales_of_code
  SideCoding side;
  std::vector<T> original;       ///< x H without the offset, where the step is learned
  mutable T step_gradient = 0;   ///< summed by linear_backward, without the method's scale
  mutable T offset_gradient = 0;

  /// g: gradient of values.
  void add_step_gradient(const std::vector<T>& g, bool clamped_only) const {
    if (original.empty()) return;
    for (std::size_t i = 0; i < rows; ++i)
      step_gradient +=
          reference::step_gradient_row<T>({g.data() + i * k, k}, {original.data() + i * k, k}, codes.data() + i * k,
                                          *grid, static_cast<T>(side.step), clamped_only);
    if (side.shift != Shift::none)
      for (std::size_t i = 0; i < rows; ++i)
        offset_gradient += reference::offset_gradient_row<T>({g.data() + i * k, k}, {original.data() + i * k, k}, *grid,
                                                             static_cast<T>(side.step));
    if (!rounded) return;
    for (const T value : g) step_gradient += static_cast<T>(1e-9) * value;  // of the 1e-9 step that the code adds
  }
};

/// trust: T of the literal rule.
template <class T>
Operand<T> make_operand(std::span<const T> x, std::size_t k, const SideCoding& side, int group, EdgeRules rules = {},
                        double trust = 0) {
  const Grid* grid = side.grid;
  Operand<T> out;
  out.rows = x.size() / k, out.k = k, out.group = group, out.grid = grid;
  const bool learned = side.scale == ScaleRule::learned;
  out.side = side;
  out.rounded = rules.scales_of_code && grid && (grid->cells == Cells::e2m1 || learned);
  out.values.assign(x.begin(), x.end());
  if (grid) {
    out.codes.resize(x.size());
    out.trusted.resize(x.size());
    out.scales.resize(out.rows);
  }
  for (std::size_t row = 0; row < out.rows; ++row) {
    const std::span<T> h(out.values.data() + row * k, k);
    reference::hadamard_row(h, group);
    if (!grid) continue;
    const T offset = static_cast<T>(side.offset);
    if (side.shift != Shift::none) reference::shift_row(h, offset);
    if (learned) out.original.insert(out.original.end(), h.begin(), h.end());
    std::uint8_t* codes = out.codes.data() + row * k;
    auto coded = reference::code_row<T>(h, side, codes);
    const T r = reference::rms<T>(h), unit = r + static_cast<T>(1e-8);
    if (grid->dense && rules.scales_of_code) {
      const T step = T{2} * (static_cast<T>(grid->alpha) * unit) / static_cast<T>(grid->dense->levels - 1);
      for (std::size_t i = 0; i < k; ++i) codes[i] = reference::code_of(h[i] / step, *grid->dense);
      reference::prune_row<T>(h, *grid, codes);
      coded.scale = step / 2;
    }
    out.scales[row] = coded.scale;
    // The uniform classes of the code compare in units of r, all others in those of r + 1e-8.
    const T distance = static_cast<T>(trust) * (grid->plain() ? r : unit);
    const T clip =
        static_cast<T>(side.trust.edge / grid->alpha) * (static_cast<T>(grid->alpha) * r + static_cast<T>(1e-8));
    for (std::size_t i = 0; i < k; ++i) {
      if (rules.zero_goes_down && h[i] == T{0}) codes[i] = static_cast<std::uint8_t>(-grid->lowest() - 1);
      T quantized = static_cast<T>(grid->value(codes[i])) * coded.scale;
      if (learned && out.rounded) {
        quantized += static_cast<T>(1e-9 * side.step);  // as the code has it
      } else if (out.rounded) {
        codes[i] = nearest_rounded(h[i] / unit);
        quantized = rounded_level<T>(codes[i]) * unit;
      }
      std::uint8_t& trusted = out.trusted[row * k + i];
      if (rules.mask == EdgeRules::Mask::literal_trust)
        trusted = std::abs(quantized - h[i]) <= distance;
      else if (rules.mask == EdgeRules::Mask::literal_clip)
        trusted = reference::trusted(h[i], clip);
      else
        trusted = reference::trusted(h[i], coded, reference::is_pruned(*grid, codes[i]));
      h[i] = side.shift != Shift::none ? quantized + offset : quantized;
    }
  }
  return out;
}
/// Scaled by its RMS; trust_factor as TrustRule::edge.
template <class T>
Operand<T> make_operand(std::span<const T> x, std::size_t k, const Grid* grid, int group, double trust_factor,
                        EdgeRules rules = {}) {
  return make_operand<T>(x, k, SideCoding{grid, trust_factor}, group, rules,
                         grid ? literal_trust(*grid, Fp4Threshold::paper) : 0);
}

/// y [x.rows, w.rows] as reference::code_product, wide_product or product_a define it, by what is coded.
template <class T>
std::vector<T> linear_forward(const Operand<T>& x, const Operand<T>& w) {
  assert(x.k == w.k);
  const std::size_t b = x.rows, n = w.rows, k = x.k;
  std::vector<T> y(b * n);
  if (x.rounded || w.rounded) {
    const auto wt = transposed(w.values, n, k);
    product(b, n, k, x.values.data(), k, 1, wt.data(), y.data());
    // What is an exact zero where sums are of integers: the runs @tie0 have it set so.
    if (w.side.scale == ScaleRule::learned && x.side.shift == Shift::none)
      for (std::size_t i = 0; i < b; ++i) {
        const std::span<T> row(y.data() + i * n, n);
        const T tiny = static_cast<T>(1e-6) * reference::rms<T>(row);
        for (T& value : row)
          if (std::abs(value) <= tiny) value = 0;
      }
    return y;
  }
  if (x.grid && w.grid && x.grid->integer() && w.grid->integer()) {
    // Every partial sum is a whole number below 2^31, so double holds it exactly.
    const auto xo = x.template numbers<double>();
    const auto wo = transposed(w.template numbers<double>(), n, k);
    std::vector<double> sums(b * n);
    product(b, n, k, xo.data(), k, 1, wo.data(), sums.data());
    for (std::size_t i = 0; i < b; ++i)
      for (std::size_t j = 0; j < n; ++j)
        y[i * n + j] = static_cast<T>(static_cast<std::int32_t>(sums[i * n + j])) * (x.scales[i] * w.scales[j]);
    if (x.side.shift != Shift::none)
      for (std::size_t j = 0; j < n; ++j) {
        std::int64_t levels = 0;
        for (std::size_t i = 0; i < k; ++i) levels += w.grid->value_of_code(w.codes[j * k + i]);
        for (std::size_t i = 0; i < b; ++i)
          y[i * n + j] += reference::offset_term(static_cast<T>(x.side.offset), levels, w.scales[j]);
      }
    return y;
  }
  const auto wt = transposed(w.grid ? w.template numbers<T>() : w.values, n, k);
  product(b, n, k, x.values.data(), k, 1, wt.data(), y.data());
  if (w.grid)
    for (std::size_t i = 0; i < b; ++i)
      for (std::size_t j = 0; j < n; ++j) y[i * n + j] *= w.scales[j];
  return y;
}

template <class T>
void through_quantizer(std::vector<T>& gradient, const Operand<T>& operand) {
  for (std::size_t row = 0; row < operand.rows; ++row) {
    const std::span<T> g(gradient.data() + row * operand.k, operand.k);
    const std::uint8_t* mask = operand.grid ? operand.trusted.data() + row * operand.k : nullptr;
    reference::quantizer_backward_row<T>(
        g, [&](std::size_t i) { return !mask || mask[i]; }, operand.group);
  }
}

/// reference::linear_backward, faster; learned steps as Operand::add_step_gradient. dx [x.rows, k] is written, dw
/// [w.rows, k] added to.
template <class T>
void linear_backward(const Operand<T>& x, const Operand<T>& w, std::span<const T> dy, std::vector<T>& dx,
                     std::vector<T>& dw, bool clamped_only = false) {
  const std::size_t b = x.rows, n = w.rows, k = x.k;
  assert(dy.size() == b * n && dw.size() == n * k);
  dx.resize(b * k);
  product(b, k, n, dy.data(), n, 1, w.values.data(), dx.data());
  x.add_step_gradient(dx, clamped_only);
  through_quantizer(dx, x);
  std::vector<T> rotated(n * k);
  product(n, k, b, dy.data(), 1, n, x.values.data(), rotated.data());
  w.add_step_gradient(rotated, clamped_only);
  through_quantizer(rotated, w);
  for (std::size_t i = 0; i < rotated.size(); ++i) dw[i] += rotated[i];
}

}  // namespace lowbit::golden
