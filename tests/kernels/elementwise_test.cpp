#include "lowbit/kernels/elementwise.h"

#include <algorithm>

#include "kernels/float_support.h"
#include "lowbit/kernels/reference.h"

namespace lowbit::kernels {
namespace {

using namespace test;

const std::size_t kWidths[] = {1, 7, 8, 15, 16, 17, 31, 33, 64, 576, 1000};

TEST(RmsNorm, GivesTheReferencesBitsInEveryFormWidthAndThreadCount) {
  for (std::size_t k : kWidths)
    for (std::size_t rows : {1, 3, 4, 5, 40}) {
      const auto x = normal_floats(rows * k, 1), weight = normal_floats(k, 2);
      std::vector<float> want(rows * k), want_inv(rows);
      for (std::size_t i = 0; i < rows; ++i)
        want_inv[i] = reference::rms_norm_row<float>({&x[i * k], k}, weight, 1e-5f, {&want[i * k], k});
      for (const Form& form : every_form()) {
        const UseForm use(form);
        for (int threads : {1, 2, 3}) {
          ThreadPool pool(threads);
          Guarded y(rows * k), inv(rows), in_place(rows * k);
          rms_norm(pool, rows, k, x.data(), weight.data(), 1e-5f, y.data(), inv.data());
          std::copy(x.begin(), x.end(), in_place.data());
          rms_norm(pool, rows, k, in_place.data(), weight.data(), 1e-5f, in_place.data(), nullptr);
          EXPECT_EQ(differing(y.inside(), want), 0u) << form.name() << " k " << k << " rows " << rows;
          EXPECT_EQ(differing(inv.inside(), want_inv), 0u) << form.name() << " k " << k << " rows " << rows;
          EXPECT_EQ(differing(in_place.inside(), want), 0u) << form.name() << " k " << k << " rows " << rows;
          EXPECT_TRUE(y.whole() && inv.whole() && in_place.whole());
        }
      }
    }
}

TEST(RmsNorm, IsWithinItsRoundingsOfTheClosedForm) {
  // The sum of squares: at most ceil(k/16) + 4 roundings of positive terms, halved by the root; then division by k, +
  // eps (halved too), root, reciprocal and two products. A relative 2^-24 each.
  const std::size_t k = 1000;
  const auto x = normal_floats(k, 3), weight = normal_floats(k, 4);
  SerialExecutor serial;
  std::vector<float> y(k);
  rms_norm(serial, 1, k, x.data(), weight.data(), 1e-5f, y.data(), nullptr);
  double sum = 0;
  for (float v : x) sum += static_cast<double>(v) * v;
  const double inv = 1 / std::sqrt(sum / k + static_cast<double>(1e-5f));
  const double bound = ((63 + 4 + 2) / 2.0 + 4) * 0x1p-24 * 1.01;
  for (std::size_t i = 0; i < k; ++i) {
    const double want = x[i] * inv * weight[i];
    EXPECT_NEAR(y[i], want, std::abs(want) * bound);
  }
}

TEST(Rope, TableHoldsTheReferencesAnglesInEveryForm) {
  for (std::size_t head_dim : {2, 8, 48, 64, 128}) {
    for (const Form& form : every_form()) {
      const UseForm use(form);
      const RopeTable table = make_rope_table(head_dim, 150, 10000.0);
      for (std::size_t position = 0; position < 150; ++position)
        for (std::size_t i = 0; i < head_dim / 2; ++i) {
          const auto [c, s] = reference::rope_cos_sin<float>(static_cast<std::int64_t>(position), i, head_dim, 10000.0);
          ASSERT_EQ(table.cos[position * head_dim / 2 + i], c) << form.name();
          ASSERT_EQ(table.sin[position * head_dim / 2 + i], s) << form.name();
        }
    }
  }
}

TEST(Rope, GivesTheReferencesBitsAndTurnsBack) {
  for (std::size_t head_dim : {2, 8, 30, 32, 48, 64, 128}) {
    const std::size_t rows = 9, heads = 3, stride = heads * head_dim + 3, half = head_dim / 2;
    const RopeTable table = make_rope_table(head_dim, 100, 500000.0);
    const auto x = normal_floats(rows * stride, 5);
    std::vector<std::int32_t> position(rows);
    for (std::size_t i = 0; i < rows; ++i) position[i] = static_cast<std::int32_t>(97 - 11 * i);
    auto want = x, back = x;
    for (std::size_t i = 0; i < rows; ++i)
      for (std::size_t h = 0; h < heads; ++h) {
        const std::size_t at = static_cast<std::size_t>(position[i]) * half;
        std::vector<float> minus(&table.sin[at], &table.sin[at] + half);
        for (float& v : minus) v = -v;
        reference::rope_row<float>({&want[i * stride + h * head_dim], head_dim}, {&table.cos[at], half},
                                   {&table.sin[at], half});
        reference::rope_row<float>({&back[i * stride + h * head_dim], head_dim}, {&table.cos[at], half}, minus);
      }
    for (const Form& form : every_form()) {
      const UseForm use(form);
      for (int threads : {1, 2, 3}) {
        ThreadPool pool(threads);
        for (bool inverse : {false, true}) {
          Guarded y(rows * stride);
          std::copy(x.begin(), x.end(), y.data());
          rope(pool, table, rows, heads, y.data(), stride, position.data(), inverse);
          EXPECT_EQ(differing(y.inside(), inverse ? back : want), 0u) << form.name() << " head " << head_dim;
          EXPECT_TRUE(y.whole());
          if (!inverse) continue;
          // There and back: four roundings a value, of terms no larger than |a| + |b| of its pair.
          rope(pool, table, rows, heads, y.data(), stride, position.data(), false);
          for (std::size_t i = 0; i < x.size(); ++i) ASSERT_NEAR(y.data()[i], x[i], 10 * 6 * 0x1p-24);
        }
      }
    }
  }
}

TEST(Rope, RotatesByThePositionTimesTheFrequency) {
  const std::size_t head_dim = 64;
  const RopeTable table = make_rope_table(head_dim, 4096, 10000.0);
  const auto x = normal_floats(head_dim, 6);
  for (std::int32_t position : {0, 1, 17, 4095}) {
    auto y = x;
    SerialExecutor serial;
    rope(serial, table, 1, 1, y.data(), head_dim, &position);
    for (std::size_t i = 0; i < 32; ++i) {
      const double angle = position * std::pow(10000.0, -2.0 * static_cast<double>(i) / 64);
      const double a = x[i], b = x[i + 32];
      // Three roundings of terms up to |a| + |b|, and cos and sin rounded once.
      const double bound = (std::abs(a) + std::abs(b)) * 4 * 0x1p-24;
      EXPECT_NEAR(y[i], a * std::cos(angle) - b * std::sin(angle), bound);
      EXPECT_NEAR(y[i + 32], b * std::cos(angle) + a * std::sin(angle), bound);
    }
  }
}

TEST(Swiglu, GivesTheReferencesBitsInEveryFormWidthAndThreadCount) {
  for (std::size_t k : kWidths) {
    const std::size_t rows = 21, stride = 2 * k + 1;
    auto x = normal_floats(rows * stride, 7, 20);
    x[0] = -100.0f, x[stride] = 100.0f, x[2 * stride] = -0.0f;  // exp overflows, underflows; a zero of either sign
    std::vector<float> want(rows * k);
    for (std::size_t i = 0; i < rows; ++i)
      for (std::size_t j = 0; j < k; ++j) want[i * k + j] = reference::swiglu(x[i * stride + j], x[i * stride + k + j]);
    for (const Form& form : every_form()) {
      const UseForm use(form);
      for (int threads : {1, 2, 3}) {
        ThreadPool pool(threads);
        Guarded y(rows * k);
        swiglu(pool, rows, k, x.data(), x.data() + k, stride, y.data());
        EXPECT_EQ(differing(y.inside(), want), 0u) << form.name() << " k " << k;
        EXPECT_TRUE(y.whole());
      }
    }
  }
}

TEST(Swiglu, IsWithinItsRoundingsOfTheClosedForm) {
  // exp within 2 units in the last place of a term of 1 + exp, then a sum, a division and a product.
  const std::size_t k = 5000;
  const auto gate = normal_floats(k, 8, 5), up = normal_floats(k, 9);
  SerialExecutor serial;
  std::vector<float> y(k);
  swiglu(serial, 1, k, gate.data(), up.data(), k, y.data());
  for (std::size_t i = 0; i < k; ++i) {
    const double g = gate[i], want = g / (1 + std::exp(-g)) * up[i];
    EXPECT_NEAR(y[i], want, std::abs(want) * 7 * 0x1p-24);
  }
}

TEST(AddInPlace, AddsEveryValueOnce) {
  for (std::size_t n : {1, 15, 16, 17, 16384, 16385, 40000}) {
    const auto x = normal_floats(n, 10), y = normal_floats(n, 11);
    std::vector<float> want(n);
    for (std::size_t i = 0; i < n; ++i) want[i] = x[i] + y[i];
    for (const Form& form : every_form()) {
      const UseForm use(form);
      ThreadPool pool(2);
      Guarded sum(n);
      std::copy(x.begin(), x.end(), sum.data());
      add_in_place(pool, n, sum.data(), y.data());
      EXPECT_EQ(differing(sum.inside(), want), 0u) << form.name() << " n " << n;
      EXPECT_TRUE(sum.whole());
    }
  }
}

TEST(CrossEntropy, GivesTheReferencesLossInEveryFormSizeAndThreadCount) {
  for (std::size_t n : {1, 7, 8, 15, 16, 17, 33, 257, 4099}) {
    const std::size_t rows = 5;
    const auto logits = normal_floats(rows * n, 12, 8);
    std::vector<std::int32_t> targets(rows);
    std::vector<double> want(rows);
    for (std::size_t i = 0; i < rows; ++i) {
      targets[i] = static_cast<std::int32_t>((i * 131 + n - 1) % n);
      want[i] = reference::cross_entropy_row<float>({&logits[i * n], n}, static_cast<std::size_t>(targets[i]));
      long double sum = 0;
      for (std::size_t j = 0; j < n; ++j) sum += std::exp(static_cast<long double>(logits[i * n + j]));
      const long double exact = std::log(sum) - logits[i * n + static_cast<std::size_t>(targets[i])];
      // Each exp within an ulp, ceil(n/16) + 4 additions of positive terms, log; the maximum and the target are exact.
      const double bound = (static_cast<double>(n) / 16 + 10) * 0x1p-53 + 60 * 0x1p-52;
      EXPECT_NEAR(want[i], static_cast<double>(exact), bound);
    }
    for (const Form& form : every_form()) {
      const UseForm use(form);
      for (int threads : {1, 2, 3}) {
        ThreadPool pool(threads);
        std::vector<double> loss(rows);
        Guarded gradient(rows * n);
        cross_entropy(pool, rows, n, logits.data(), targets.data(), loss.data(), nullptr, 1.0f);
        EXPECT_EQ(differing(loss, want), 0u) << form.name() << " n " << n;
        cross_entropy(pool, rows, n, logits.data(), targets.data(), loss.data(), gradient.data(), 1.0f);
        EXPECT_EQ(differing(loss, want), 0u) << form.name() << " n " << n;
        EXPECT_TRUE(gradient.whole());
      }
    }
  }
}

TEST(CrossEntropy, GradientIsSoftmaxMinusOneHotAndMayOverwriteTheLogits) {
  const std::size_t rows = 6, n = 1003;
  const auto logits = normal_floats(rows * n, 13, 3);
  const std::vector<std::int32_t> targets{0, 15, 16, 1002, 1000, 500};
  const float scale = 0.37f;
  for (const Form& form : every_form()) {
    const UseForm use(form);
    std::vector<float> first;
    for (int threads : {1, 2, 3}) {
      ThreadPool pool(threads);
      std::vector<double> loss(rows);
      auto in_place = logits;
      std::vector<float> beside(rows * n);
      cross_entropy(pool, rows, n, in_place.data(), targets.data(), loss.data(), in_place.data(), scale);
      cross_entropy(pool, rows, n, logits.data(), targets.data(), loss.data(), beside.data(), scale);
      EXPECT_EQ(differing(in_place, beside), 0u) << form.name();
      if (first.empty()) first = beside;
      EXPECT_EQ(differing(first, beside), 0u) << form.name() << " threads " << threads;
    }
    for (std::size_t i = 0; i < rows; ++i) {
      long double sum = 0;
      for (std::size_t j = 0; j < n; ++j) sum += std::exp(static_cast<long double>(logits[i * n + j]));
      for (std::size_t j = 0; j < n; ++j) {
        const double p = static_cast<double>(std::exp(static_cast<long double>(logits[i * n + j])) / sum);
        const double want = (p - (j == static_cast<std::size_t>(targets[i]) ? 1 : 0)) * static_cast<double>(scale);
        // The shift by the maximum rounds by up to 2^-24 of |z - max| < 32; exp and two products: a relative error.
        EXPECT_NEAR(first[i * n + j], want, std::abs(want) * (32 + 6) * 0x1p-24 + 1e-38) << form.name();
      }
    }
  }
}

}  // namespace
}  // namespace lowbit::kernels
