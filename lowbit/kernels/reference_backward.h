#pragma once
#include <algorithm>
#include <array>
#include <cassert>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "lowbit/base/math.h"
#include "lowbit/kernels/reference.h"

// The gradient of everything in reference.h, once, one value at a time: the definition that the kernels of backward.h
// are tested against, and what the golden runs are compared with in double. Throughout, gradients of parameters (dw,
// dweight, dtable) and of keys and values are added to, gradients of inputs (dx, dq, dgate, ...) are written.
namespace lowbit::kernels::reference {

/// y [rows, n] = x w^T without quantizers: dx = dy w, dw += dy^T x. x [rows, k], w [n, k], all contiguous.
template <class T>
void product_backward(std::size_t rows, std::size_t n, std::size_t k, std::span<const T> dy, std::span<const T> x,
                      std::span<const T> w, std::span<T> dx, std::span<T> dw) {
  assert(dy.size() == rows * n && x.size() == rows * k && w.size() == n * k);
  assert(dx.size() == rows * k && dw.size() == n * k);
  for (T& value : dx) value = 0;
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t o = 0; o < n; ++o)
      for (std::size_t i = 0; i < k; ++i) {
        dx[r * k + i] += dy[r * n + o] * w[o * k + i];
        dw[o * k + i] += dy[r * n + o] * x[r * k + i];
      }
}

/// The way back through the quantizer of one row: g = (g o mask) H. trusted(i) is the mask.
template <class T, class Trusted>
void quantizer_backward_row(std::span<T> g, Trusted&& trusted, int group) {
  for (std::size_t i = 0; i < g.size(); ++i)
    if (!trusted(i)) g[i] = 0;
  hadamard_row(g, group);
}

/// y = xq wq^T, where xq [rows, k] and wq [n, k] are the values (o * h) of x H and w H on their grids:
///   dx = ((dy wq) o M_x) H, dw += ((dy^T xq) o M_w) H.
/// trusted_x(row, i), trusted_w(output, i): the masks; a group of 1 is a side that was not rotated.
/// source  QuEST (arXiv 2502.05003), algorithm 1; no gradient through scale, step or mask.
template <class T, class TrustedX, class TrustedW>
void linear_backward(std::size_t rows, std::size_t n, std::size_t k, std::span<const T> dy, std::span<const T> xq,
                     std::span<const T> wq, TrustedX&& trusted_x, int x_group, TrustedW&& trusted_w, int w_group,
                     std::span<T> dx, std::span<T> dw) {
  std::vector<T> rotated(n * k, T{0});
  product_backward<T>(rows, n, k, dy, xq, wq, dx, rotated);
  for (std::size_t r = 0; r < rows; ++r)
    quantizer_backward_row<T>(
        dx.subspan(r * k, k), [&](std::size_t i) { return trusted_x(r, i); }, x_group);
  for (std::size_t o = 0; o < n; ++o)
    quantizer_backward_row<T>(
        std::span(rotated).subspan(o * k, k), [&](std::size_t i) { return trusted_w(o, i); }, w_group);
  for (std::size_t i = 0; i < n * k; ++i) dw[i] += rotated[i];
}

/// What one row adds to the gradient of a learned step D, before the scale of the method: with u = x / D and q the
/// level in units of D, g (q - u) where |x| <= edge |D| and g q where it is clamped; clamped_only: the second alone
/// (PACT). x: rotated; g: gradient of the coded values. source  LSQ, Esser et al. 2020, arXiv 1902.08153, equation 3;
/// PACT, Choi et al. 2018, arXiv 1805.06085.
template <class T>
T step_gradient_row(std::span<const T> g, std::span<const T> x, const std::uint8_t* codes, const Grid& grid, T step,
                    bool clamped_only) {
  constexpr std::size_t kSums = 16;
  const T unit = grid.zero_is_level ? T{1} : T{0.5};
  const T edge = step_edge<T>(grid) * std::abs(step), inverse = T{1} / step;
  std::array<T, kSums> sums{};
  for (std::size_t i = 0; i < g.size(); ++i) {
    const T q = unit * static_cast<T>(grid.value_of_code(codes[i]));
    const bool inside = std::abs(x[i]) <= edge;
    sums[i % kSums] += g[i] * (inside ? clamped_only ? T{0} : q - x[i] * inverse : q);
  }
  T sum = 0;
  for (const T s : sums) sum += s;
  return sum;
}

/// What one row adds to the gradient of a learned offset, before the scale of the method: g where |x| > edge |D|, x
/// without the offset (an unclamped entry follows its input, a clamped one the offset). source  LSQ+, Bhalgat et al.
/// 2020, arXiv 2004.09576, equation 6.
template <class T>
T offset_gradient_row(std::span<const T> g, std::span<const T> x, const Grid& grid, T step) {
  const T edge = step_edge<T>(grid) * std::abs(step);
  T sum = 0;
  for (std::size_t i = 0; i < g.size(); ++i)
    if (!(std::abs(x[i]) <= edge)) sum += g[i];
  return sum;
}

/// The way back through alpha s + beta of one row of inputs, s = sign z, z = (x - beta) / alpha, under the stand-in
/// derivative ds/dz = max(0, 2 - 2 |z|): g becomes the gradient of x; returns those of alpha, g (s - z ds/dz), and of
/// beta, g (1 - ds/dz). x: without the offset. source  AdaBin, Tu et al. 2022, arXiv 2208.08084, section 3.3 (the
/// derivative is Bi-Real Net's, arXiv 1808.00278).
template <class T>
std::pair<T, T> adabin_input_row(std::span<T> g, std::span<const T> x, T alpha) {
  const T inverse = T{1} / alpha;
  T of_alpha = 0, of_beta = 0;
  for (std::size_t i = 0; i < g.size(); ++i) {
    const T z = x[i] * inverse, slope = std::max(T{0}, T{2} - T{2} * std::abs(z)), s = z < T{0} ? T{-1} : T{1};
    of_alpha += g[i] * (s - z * slope);
    of_beta += g[i] * (T{1} - slope);
    g[i] *= slope;
  }
  return {of_alpha, of_beta};
}

/// The same of a row of weights, whose beta and alpha are its mean and deviation, under ds/dz = 1:
/// dx_i = g_i + z_i / K sum_j g_j (s_j - z_j). x: without the mean.
template <class T>
void adabin_weight_row(std::span<T> g, std::span<const T> x, T alpha) {
  const T inverse = T{1} / alpha;
  T sum = 0;
  for (std::size_t i = 0; i < g.size(); ++i) {
    const T z = x[i] * inverse;
    sum += g[i] * ((z < T{0} ? T{-1} : T{1}) - z);
  }
  const T part = sum / static_cast<T>(g.size());
  for (std::size_t i = 0; i < g.size(); ++i) g[i] += part * (x[i] * inverse);
}

/// One row of y = (x * inv) * weight: dx_i = inv * (g_i - x_i * inv^2 * mean(g x)), g = weight * dy;
/// dweight_i += dy_i * x_i * inv. dx may be dy.
template <class T>
void rms_norm_backward_row(std::span<const T> x, std::span<const T> weight, T inv, std::span<const T> dy,
                           std::span<T> dx, std::span<T> dweight) {
  T dot = 0;
  for (std::size_t i = 0; i < x.size(); ++i) dot += weight[i] * dy[i] * x[i];
  const T slope = dot / static_cast<T>(x.size()) * inv * inv;
  for (std::size_t i = 0; i < x.size(); ++i) {
    dweight[i] += dy[i] * (x[i] * inv);
    dx[i] = inv * (weight[i] * dy[i] - x[i] * slope);
  }
}

/// The transpose of rope_row, in place.
template <class T>
void rope_backward_row(std::span<T> dx, std::span<const T> cos, std::span<const T> sin) {
  const std::size_t half = dx.size() / 2;
  for (std::size_t i = 0; i < half; ++i) {
    const T a = dx[i], b = dx[i + half];
    dx[i] = a * cos[i] + b * sin[i];
    dx[i + half] = b * cos[i] - a * sin[i];
  }
}

/// Gradients (of gate, of up) of silu(gate) * up. silu'(x) = s (1 + x (1 - s)) with s = 1 / (1 + exp(-x)).
template <class T>
std::pair<T, T> swiglu_backward(T gate, T up, T dy) {
  const T s = T{1} / (T{1} + math::exp(-gate));
  return {dy * up * (s * (T{1} + gate * (T{1} - s))), dy * (gate * s)};
}

/// One query head with its key-value head over positions 0 .. n-1, causal (query i sees keys 0..i).
/// q(i), key(j), value(j), out(i), dout(i): const spans of d; log_sum(i): as attention_row returned it.
/// dq(i) is written; dk(j), dv(j) are added to, so that the query heads of a group sum up in their order.
///   P_ij = exp(q_i . k_j * scale - log_sum_i); dV_j += sum_i P_ij dO_i; dP_ij = dO_i . v_j;
///   dS_ij = P_ij (dP_ij - dO_i . O_i) * scale; dQ_i = sum_j dS_ij k_j; dK_j += sum_i dS_ij q_i.
/// source  Dao et al. 2022, FlashAttention, arXiv 2205.14135, section B.2.
template <class T, class Query, class Key, class Value, class Out, class DOut, class LogSum, class DQ, class DK,
          class DV>
void attention_backward_head(std::size_t n, std::size_t d, Query&& q, Key&& key, Value&& value, Out&& out, DOut&& dout,
                             LogSum&& log_sum, DQ&& dq, DK&& dk, DV&& dv) {
  const T scale = static_cast<T>(1.0 / math::sqrt(static_cast<double>(d)));
  const auto dot = [d](std::span<const T> a, std::span<const T> b) {
    T sum = 0;
    for (std::size_t i = 0; i < d; ++i) sum += a[i] * b[i];
    return sum;
  };
  for (std::size_t i = 0; i < n; ++i) {
    const std::span<const T> qi = q(i), gi = dout(i);
    const std::span<T> dqi = dq(i);
    const T delta = dot(gi, out(i));
    for (std::size_t e = 0; e < d; ++e) dqi[e] = 0;
    for (std::size_t j = 0; j <= i; ++j) {
      const std::span<const T> kj = key(j);
      const std::span<T> dkj = dk(j), dvj = dv(j);
      const T p = math::exp(dot(qi, kj) * scale - log_sum(i));
      const T ds = p * (dot(gi, value(j)) - delta) * scale;
      for (std::size_t e = 0; e < d; ++e) {
        dvj[e] += p * gi[e];
        dqi[e] += ds * kj[e];
        dkj[e] += ds * qi[e];
      }
    }
  }
}

/// Gradient of cross_entropy_row times `scale`: (softmax - onehot(target)) * scale. dlogits may be logits.
template <class T>
void cross_entropy_backward_row(std::span<const T> logits, std::size_t target, T scale, std::span<T> dlogits) {
  T top = logits[0];
  for (const T z : logits) top = z > top ? z : top;
  T sum = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    dlogits[i] = math::exp(logits[i] - top);
    sum += dlogits[i];
  }
  for (std::size_t i = 0; i < dlogits.size(); ++i)
    dlogits[i] = (dlogits[i] / sum - (i == target ? T{1} : T{0})) * scale;
}

/// dtable[ids[i]] += dy[i] for each row i in ascending order. dy [ids.size(), k], dtable [vocabulary, k].
template <class T>
void embedding_backward(std::span<const std::int32_t> ids, std::size_t k, std::span<const T> dy, std::span<T> dtable) {
  for (std::size_t i = 0; i < ids.size(); ++i)
    for (std::size_t j = 0; j < k; ++j) dtable[static_cast<std::size_t>(ids[i]) * k + j] += dy[i * k + j];
}

}  // namespace lowbit::kernels::reference
