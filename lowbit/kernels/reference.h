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
#include "lowbit/formats/grid.h"

// The arithmetic, once, one value at a time: the definition that every kernel is tested against (docs/numerics.md).
// Templates on the number type: float is what is shipped, double is what the golden runs of the reference code are
// compared with. Constants are rounded once to the type.
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
  T scale;      ///< h: a value is o * h
  T threshold;  ///< trusted where |x_h| <= threshold
};

/// Codes one row, already rotated. codes[i] = k - lowest. trust_factor: c * alpha, infinity to trust all.
template <class T>
CodedRow<T> code_row(std::span<const T> x, const Grid& grid, double trust_factor, std::uint8_t* codes) {
  const T r = math::sqrt(sum_of_squares(x) / static_cast<T>(x.size()));
  const T s = static_cast<T>(grid.alpha) * r + static_cast<T>(1e-8);
  const T step = grid.zero_is_level ? s : (T{2} * s) / static_cast<T>(grid.levels - 1);
  const T inverse = T{1} / step;
  const T lo = static_cast<T>(grid.lowest()), hi = static_cast<T>(grid.highest());
  for (std::size_t i = 0; i < x.size(); ++i) {
    const T scaled = x[i] * inverse;
    const T cell = math::floor(grid.zero_is_level ? scaled + T{0.5} : scaled);
    // In this order a NaN gives the lowest code, as the processor's max and min do.
    const T low = cell > lo ? cell : lo;
    const T k = low < hi ? low : hi;
    codes[i] = static_cast<std::uint8_t>(static_cast<int>(k) - grid.lowest());
  }
  // Infinity trusts all, also in a row of zeros, where infinity * r would be NaN.
  const T edge = static_cast<T>(trust_factor);
  return {grid.zero_is_level ? s : step * T{0.5}, edge == std::numeric_limits<T>::infinity() ? edge : edge * r};
}

template <class T>
bool trusted(T x, T threshold) {
  return std::abs(x) <= threshold;
}

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

/// Order (a): strictly one after another.
template <class T>
T product_a(std::span<const T> a, std::span<const T> b) {
  T acc = 0;
  for (std::size_t i = 0; i < a.size(); ++i) acc = math::fma(a[i], b[i], acc);
  return acc;
}

/// wXa16: order (a) over float(o) * x, then one multiplication by h.
template <class T>
T wide_product(std::span<const T> x, std::span<const std::uint8_t> w, const Grid& grid, T w_scale) {
  T acc = 0;
  for (std::size_t i = 0; i < x.size(); ++i)
    acc = math::fma(static_cast<T>(grid.value_of_code(w[i])), x[i], acc);
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
///             l = fma(l, c, S), S = the p_j summed in 16 partial sums (key j to sum j mod 16) and the tree of order (b)
///             out = out * c, then in order (a) over j: fma(p_j, v_j, out); bfloat16: p_j rounded, order (c)
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
