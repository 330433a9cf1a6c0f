#include <gtest/gtest.h>

#include <bit>

#include "backward_support.h"
#include "lowbit/kernels/reference_backward.h"

// The backward formulas against central differences of the forward ones, in double. With steps of 1e-5 the difference
// is off by about 1e-10 of the third derivative and 1e-11 of the rounding error.
namespace lowbit::kernels {
namespace {

using namespace test;
using Vector = std::vector<double>;

/// d loss / d x, entry by entry.
template <class Loss>
Vector differences(Vector& x, Loss&& loss) {
  Vector slope;
  for (double& v : x) {
    const double at = v, step = 1e-5;
    v = at + step;
    const double above = loss();
    v = at - step;
    const double below = loss();
    v = at;
    slope.push_back((above - below) / (2 * step));
  }
  return slope;
}

double weighted(const Vector& y, const Vector& by) {
  double sum = 0;
  for (std::size_t i = 0; i < y.size(); ++i) sum += y[i] * by[i];
  return sum;
}

TEST(ReferenceBackward, OfAProductIsItsDerivative) {
  const std::size_t rows = 3, n = 4, k = 5;
  Vector x = normals_double(1, rows * k), w = normals_double(2, n * k), dy = normals_double(3, rows * n), dx(rows * k),
         dw(n * k);
  const auto loss = [&] {
    double sum = 0;
    for (std::size_t r = 0; r < rows; ++r)
      for (std::size_t o = 0; o < n; ++o)
        sum += dy[r * n + o] *
               reference::product_a<double>(std::span(x).subspan(r * k, k), std::span(w).subspan(o * k, k));
    return sum;
  };
  reference::product_backward<double>(rows, n, k, dy, x, w, dx, dw);
  EXPECT_LT(relative_error(dx, differences(x, loss)), 1e-6);
  EXPECT_LT(relative_error(dw, differences(w, loss)), 1e-6);
}

TEST(ReferenceBackward, OfAQuantizedLinearLayerMasksAndThenRotatesWithTheMatrixOfHadamard) {
  const std::size_t rows = 3, n = 2, k = 8;
  const int x_group = 4, w_group = 8;
  const Vector xq = normals_double(1, rows * k), wq = normals_double(2, n * k), dy = normals_double(3, rows * n);
  Vector dx(rows * k), dw(n * k, 0.5);
  const auto trusted_x = [](std::size_t r, std::size_t i) { return (r + i) % 3 != 0; };
  const auto trusted_w = [](std::size_t o, std::size_t i) { return (o + 2 * i) % 5 != 0; };
  reference::linear_backward<double>(rows, n, k, dy, xq, wq, trusted_x, x_group, trusted_w, w_group, dx, dw);
  const auto h = [](int group, std::size_t i, std::size_t j) {
    const auto g = static_cast<std::size_t>(group);
    if (i / g != j / g) return 0.0;
    return (std::popcount((i % g) & (j % g)) % 2 ? -1 : 1) / std::sqrt(static_cast<double>(group));
  };
  for (std::size_t j = 0; j < k; ++j) {
    for (std::size_t r = 0; r < rows; ++r) {
      double sum = 0;
      for (std::size_t i = 0; i < k; ++i)
        for (std::size_t o = 0; o < n; ++o) sum += trusted_x(r, i) * dy[r * n + o] * wq[o * k + i] * h(x_group, i, j);
      EXPECT_NEAR(dx[r * k + j], sum, 1e-12);
    }
    for (std::size_t o = 0; o < n; ++o) {
      double sum = 0.5;
      for (std::size_t i = 0; i < k; ++i)
        for (std::size_t r = 0; r < rows; ++r)
          sum += trusted_w(o, i) * dy[r * n + o] * xq[r * k + i] * h(w_group, i, j);
      EXPECT_NEAR(dw[o * k + j], sum, 1e-12);
    }
  }
}

TEST(ReferenceBackward, OfTheRootMeanSquareNormIsItsDerivative) {
  const std::size_t k = 7;
  Vector x = normals_double(1, k), weight = normals_double(2, k), y(k), dx(k), dweight(k);
  const Vector dy = normals_double(3, k);
  const double epsilon = 1e-2;  // large enough to matter
  const auto loss = [&] {
    reference::rms_norm_row<double>(x, weight, epsilon, y);
    return weighted(y, dy);
  };
  const double inv = reference::rms_norm_row<double>(x, weight, epsilon, y);
  reference::rms_norm_backward_row<double>(x, weight, inv, dy, dx, dweight);
  EXPECT_LT(relative_error(dx, differences(x, loss)), 1e-6);
  EXPECT_LT(relative_error(dweight, differences(weight, loss)), 1e-6);
}

TEST(ReferenceBackward, OfTheRotaryEmbeddingIsItsDerivative) {
  const std::size_t d = 8;
  Vector x = normals_double(1, d), cos(d / 2), sin(d / 2), dx = normals_double(2, d);
  const Vector dy = dx;
  for (std::size_t i = 0; i < d / 2; ++i) std::tie(cos[i], sin[i]) = reference::rope_cos_sin<double>(9, i, d, 10000);
  const auto loss = [&] {
    Vector y = x;
    reference::rope_row<double>(y, cos, sin);
    return weighted(y, dy);
  };
  reference::rope_backward_row<double>(dx, cos, sin);
  EXPECT_LT(relative_error(dx, differences(x, loss)), 1e-6);
}

TEST(ReferenceBackward, OfTheGatedUnitIsItsDerivative) {
  const std::size_t k = 12;
  Vector gate = normals_double(1, k), up = normals_double(2, k), dgate, dup;
  for (double& g : gate) g *= 3;
  const Vector dy = normals_double(3, k);
  const auto loss = [&] {
    double sum = 0;
    for (std::size_t i = 0; i < k; ++i) sum += dy[i] * reference::swiglu(gate[i], up[i]);
    return sum;
  };
  for (std::size_t i = 0; i < k; ++i) {
    const auto [g, u] = reference::swiglu_backward(gate[i], up[i], dy[i]);
    dgate.push_back(g);
    dup.push_back(u);
  }
  EXPECT_LT(relative_error(dgate, differences(gate, loss)), 1e-6);
  EXPECT_LT(relative_error(dup, differences(up, loss)), 1e-6);
}

TEST(ReferenceBackward, OfAttentionIsItsDerivativeOverMoreThanOneBlockOfKeys) {
  const std::size_t n = reference::kKeyBlock + 5, d = 4;
  Vector q = normals_double(1, n * d), k = normals_double(2, n * d), v = normals_double(3, n * d), out(n * d),
         log_sum(n);
  Vector dq(n * d), dk(n * d), dv(n * d);
  const Vector dout = normals_double(4, n * d);
  const auto row = [](auto& x) { return [&x](std::size_t i) { return std::span(x).subspan(i * d, d); }; };
  const auto forward = [&] {
    for (std::size_t i = 0; i < n; ++i)
      log_sum[i] = reference::attention_row<double>(row(q)(i), i + 1, row(k), row(v), row(out)(i));
    return weighted(out, dout);
  };
  forward();
  reference::attention_backward_head<double>(
      n, d, row(q), row(k), row(v), row(out), row(dout), [&](std::size_t i) { return log_sum[i]; }, row(dq), row(dk),
      row(dv));
  EXPECT_LT(relative_error(dq, differences(q, forward)), 1e-6);
  EXPECT_LT(relative_error(dk, differences(k, forward)), 1e-6);
  EXPECT_LT(relative_error(dv, differences(v, forward)), 1e-6);
}

TEST(ReferenceBackward, OfTheCrossEntropyIsItsDerivativeTimesTheScale) {
  Vector logits = normals_double(1, 37), slope(37);
  for (double& z : logits) z *= 4;
  reference::cross_entropy_backward_row<double>(logits, 11, 0.25, slope);
  const auto loss = [&] { return 0.25 * reference::cross_entropy_row<double>(logits, 11); };
  EXPECT_LT(relative_error(slope, differences(logits, loss)), 1e-6);
}

}  // namespace
}  // namespace lowbit::kernels
