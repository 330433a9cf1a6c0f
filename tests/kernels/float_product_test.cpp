#include "lowbit/kernels/float_product.h"

#include <algorithm>
#include <limits>

#include "kernels/float_support.h"
#include "kernels/float_cases.h"
#include "lowbit/kernels/reference.h"

namespace lowbit::kernels {
namespace {

using namespace test_cases;

struct Size {
  std::size_t m, n, k;
};

// Around the width of a panel (16), the tile (6 rows, 4 panels; 8 wide for one row), the blocks of k (1024 words) and
// the tasks (48 rows, 12 panels).
std::vector<Size> sizes() {
  std::vector<Size> all;
  for (std::size_t m = 1; m <= 9; ++m)
    for (std::size_t n : {1, 15, 16, 17, 64, 65, 130}) all.push_back({m, n, 33});
  for (std::size_t k : {1, 2, 3, 95, 257, 515, 1023, 1024, 1025, 2047, 2049})
    all.push_back({7, 33, k}), all.push_back({1, 31, k});
  all.push_back({49, 200, 200});
  all.push_back({97, 17, 31});
  all.push_back({8, 17, 2055});
  all.push_back({7, 9, 4100});
  return all;
}

std::vector<float> reference_product(const Size& s, const std::vector<float>& x, const std::vector<float>& w) {
  std::vector<float> y(s.m * s.n);
  for (std::size_t i = 0; i < s.m; ++i)
    for (std::size_t j = 0; j < s.n; ++j)
      y[i * s.n + j] = reference::product_a<float>({&x[i * s.k], s.k}, {&w[j * s.k], s.k});
  return y;
}

std::vector<bf16> rounded(const std::vector<float>& x) {
  std::vector<bf16> y(x.size());
  std::transform(x.begin(), x.end(), y.begin(), to_bf16);
  return y;
}

std::vector<float> reference_bf16_product(const Size& s, const std::vector<bf16>& x, const std::vector<bf16>& w) {
  std::vector<float> y(s.m * s.n);
  for (std::size_t i = 0; i < s.m; ++i)
    for (std::size_t j = 0; j < s.n; ++j) y[i * s.n + j] = reference::product_c({&x[i * s.k], s.k}, {&w[j * s.k], s.k});
  return y;
}

/// x with a gap between its rows, filled with NaN: nobody may let it in.
std::vector<float> with_stride(const std::vector<float>& x, const Size& s, std::size_t stride) {
  std::vector<float> y(s.m * stride, std::numeric_limits<float>::quiet_NaN());
  for (std::size_t i = 0; i < s.m; ++i) std::copy_n(&x[i * s.k], s.k, &y[i * stride]);
  return y;
}

TEST(FloatProduct, GivesTheBitsOfTheSequentialSumInEveryFormSizeAndThreadCount) {
  for (const Size& s : sizes()) {
    const auto x = normal_floats(s.m * s.k, 1), w = normal_floats(s.n * s.k, 2);
    const auto want = reference_product(s, x, w);
    const auto spread = with_stride(x, s, s.k + 3);
    for (const Form& form : every_form()) {
      const UseForm use(form);
      for (int threads : {1, 2, 3}) {
        ThreadPool pool(threads);
        FloatPanels panels;
        make_panels(pool, s.n, s.k, w.data(), panels);
        Guarded y(s.m * s.n);
        float_product(pool, s.m, spread.data(), s.k + 3, panels, y.data(), s.n);
        EXPECT_EQ(differing(y.inside(), want), 0u) << form.name() << " m " << s.m << " n " << s.n << " k " << s.k;
        EXPECT_TRUE(y.whole());
      }
    }
  }
}

TEST(FloatProduct, LeavesTheGapBetweenRowsOfTheResultAlone) {
  const Size s{13, 37, 100};
  const auto x = normal_floats(s.m * s.k, 1), w = normal_floats(s.n * s.k, 2);
  const std::size_t stride = 41;
  for (const Form& form : every_form()) {
    const UseForm use(form);
    SerialExecutor serial;
    FloatPanels panels;
    make_panels(serial, s.n, s.k, w.data(), panels);
    Bf16Panels small;
    make_panels(serial, s.n, s.k, w.data(), small);
    std::vector<bf16> rows(s.m * bf16_stride(s.k));
    round_rows(serial, s.m, s.k, x.data(), s.k, rows.data());
    for (bool bf : {false, true}) {
      Guarded y(s.m * stride);
      if (bf)
        bf16_product(serial, s.m, rows.data(), small, y.data(), stride);
      else
        float_product(serial, s.m, x.data(), s.k, panels, y.data(), stride);
      for (std::size_t i = 0; i < s.m; ++i)
        for (std::size_t j = s.n; j < stride; ++j) EXPECT_EQ(y.data()[i * stride + j], Guarded::kMark) << form.name();
      EXPECT_TRUE(y.whole());
    }
  }
}

TEST(FloatProduct, OfOneAndManyRowsIsTheSameRowByRow) {
  const Size s{50, 70, 300};
  const auto x = normal_floats(s.m * s.k, 3), w = normal_floats(s.n * s.k, 4);
  SerialExecutor serial;
  FloatPanels panels;
  make_panels(serial, s.n, s.k, w.data(), panels);
  std::vector<float> whole(s.m * s.n), rows(s.m * s.n);
  float_product(serial, s.m, x.data(), s.k, panels, whole.data(), s.n);
  for (std::size_t i = 0; i < s.m; ++i) float_product(serial, 1, &x[i * s.k], s.k, panels, &rows[i * s.n], s.n);
  EXPECT_EQ(differing(whole, rows), 0u);
}

TEST(FloatProduct, StaysWithinTheBoundOfASequentialSum) {
  // |error| <= k * 2^-24 * sum |x w| to first order: each of the k fmas rounds once, by at most half a unit of a
  // partial sum that the sum of absolute values bounds.
  const Size s{7, 33, 1000};
  const auto x = normal_floats(s.m * s.k, 5), w = normal_floats(s.n * s.k, 6);
  SerialExecutor serial;
  FloatPanels panels;
  make_panels(serial, s.n, s.k, w.data(), panels);
  std::vector<float> y(s.m * s.n);
  float_product(serial, s.m, x.data(), s.k, panels, y.data(), s.n);
  for (std::size_t i = 0; i < s.m; ++i)
    for (std::size_t j = 0; j < s.n; ++j) {
      long double sum = 0, magnitude = 0;
      for (std::size_t k = 0; k < s.k; ++k) {
        const long double term = static_cast<long double>(x[i * s.k + k]) * w[j * s.k + k];
        sum += term;
        magnitude += std::abs(term);
      }
      EXPECT_LE(std::abs(y[i * s.n + j] - sum), static_cast<long double>(s.k) * 0x1p-24L * 1.001L * magnitude);
    }
}

TEST(FloatProduct, OfCodedWeightsIsTheSumOverTheirIntegersTimesTheScale) {
  const Rng rng(7);
  for (const Grid* of_table : every_grid()) {
    const Grid& grid = *of_table;
    for (const Size& s : {Size{1, 17, 33}, Size{8, 40, 200}}) {
      const auto x = normal_floats(s.m * s.k, 8);
      auto h = normal_floats(s.n, 9);
      std::vector<std::uint8_t> codes(s.n * code_stride(s.k));
      std::vector<std::int32_t> sums(s.n);
      for (std::size_t j = 0; j < s.n; ++j)
        for (std::size_t k = 0; k < s.k; ++k)
          codes[j * code_stride(s.k) + k] =
              static_cast<std::uint8_t>(rng.below(j * s.k + k, static_cast<std::uint64_t>(grid.levels)));
      std::vector<float> want(s.m * s.n);
      for (std::size_t i = 0; i < s.m; ++i)
        for (std::size_t j = 0; j < s.n; ++j)
          want[i * s.n + j] =
              reference::wide_product<float>({&x[i * s.k], s.k}, {&codes[j * code_stride(s.k)], s.k}, grid, h[j]);
      for (const Form& form : every_form()) {
        const UseForm use(form);
        ThreadPool pool(2);
        FloatPanels panels;
        make_panels(pool, grid, s.n, s.k, {codes.data(), h.data(), sums.data(), nullptr}, panels);
        Guarded y(s.m * s.n);
        float_product(pool, s.m, x.data(), s.k, panels, y.data(), s.n);
        EXPECT_EQ(differing(y.inside(), want), 0u) << form.name() << " grid " << grid.name;
        EXPECT_TRUE(y.whole());
      }
    }
  }
}

TEST(FloatProduct, PanelsMadeAgainForSmallerWeightsHaveZeroPads) {
  SerialExecutor serial;
  FloatPanels panels;
  Bf16Panels small;
  const auto large = normal_floats(64 * 65, 1);
  for (const Size& s : {Size{1, 64, 65}, Size{1, 17, 33}}) {
    make_panels(serial, s.n, s.k, large.data(), panels);
    make_panels(serial, s.n, s.k, large.data(), small);
    ASSERT_EQ(panels.data.size(), (s.n + 15) / 16 * 16 * s.k);
    ASSERT_EQ(small.data.size(), (s.n + 15) / 16 * 32 * ((s.k + 1) / 2));
    for (std::size_t j = 0; j < (s.n + 15) / 16 * 16; ++j)
      for (std::size_t k = 0; k < (s.k + 1) / 2 * 2; ++k) {
        const float want = j < s.n && k < s.k ? large[j * s.k + k] : 0.0f;
        if (k < s.k) {
          EXPECT_EQ(panels.data[(j / 16 * s.k + k) * 16 + j % 16], want);
        }
        EXPECT_EQ(small.data[(j / 16 * ((s.k + 1) / 2) + k / 2) * 32 + j % 16 * 2 + k % 2], to_bf16(want));
      }
  }
}

TEST(Bf16Product, GivesTheBitsOfTheSumOfPairsInEveryFormSizeAndThreadCount) {
  for (const Size& s : sizes()) {
    const auto x = normal_floats(s.m * s.k, 11), w = normal_floats(s.n * s.k, 12);
    const auto x16 = rounded(x), w16 = rounded(w);
    const auto want = reference_bf16_product(s, x16, w16);
    const auto spread = with_stride(x, s, s.k + 5);
    for (const Form& form : every_form()) {
      const UseForm use(form);
      for (int threads : {1, 2, 3}) {
        ThreadPool pool(threads);
        std::vector<bf16> rows(s.m * bf16_stride(s.k), bf16{0x7FC0});
        round_rows(pool, s.m, s.k, spread.data(), s.k + 5, rows.data());
        for (bool from_float : {true, false}) {
          Bf16Panels panels;
          if (from_float)
            make_panels(pool, s.n, s.k, w.data(), panels);
          else
            make_panels(pool, s.n, s.k, w16.data(), panels);
          Guarded y(s.m * s.n);
          bf16_product(pool, s.m, rows.data(), panels, y.data(), s.n);
          EXPECT_EQ(differing(y.inside(), want), 0u) << form.name() << " m " << s.m << " n " << s.n << " k " << s.k;
          EXPECT_TRUE(y.whole());
        }
      }
    }
  }
}

TEST(Bf16Product, OfNumbersOfEveryExponentIsTheSameInEveryVectorForm) { compare_wild_sums(2, 24); }

TEST(Bf16Product, OfNumbersOfEveryExponentIsTheReferencesSum) {
  const Size s{9, 33, 20};
  for (std::uint32_t spread : {0u, 140u, 40u}) {
    const auto x = wild_bf16(s.m * s.k, 21, spread), w = wild_bf16(s.n * s.k, 22, spread);
    const auto want = reference_bf16_product(s, x, w);
    std::vector<bf16> rows(s.m * bf16_stride(s.k));
    for (std::size_t i = 0; i < s.m; ++i) std::copy_n(&x[i * s.k], s.k, &rows[i * bf16_stride(s.k)]);
    for (const Form& form : every_form()) {
      const UseForm use(form);
      SerialExecutor serial;
      Bf16Panels panels;
      make_panels(serial, s.n, s.k, w.data(), panels);
      std::vector<float> y(s.m * s.n);
      bf16_product(serial, s.m, rows.data(), panels, y.data(), s.n);
      EXPECT_EQ(differing(y, want), 0u) << form.name() << " exponents " << spread;
    }
  }
}

TEST(RoundRows, RoundsEveryKindOfFloatAsTheDefinitionDoesAndPadsWithZeros) {
  // Every upper half, with lower halves about the tie: NaNs, infinities, denormals and both zeros among them.
  std::vector<float> x;
  for (std::uint32_t upper = 0; upper < 0x10000; ++upper)
    for (std::uint32_t lower : {0u, 1u, 0x7FFFu, 0x8000u, 0x8001u, 0xFFFFu})
      x.push_back(std::bit_cast<float>(upper << 16 | lower));
  const std::size_t k = 47, rows = x.size() / k;
  for (const Form& form : every_form()) {
    const UseForm use(form);
    ThreadPool pool(2);
    std::vector<bf16> y(rows * bf16_stride(k), bf16{0xFFFF});
    round_rows(pool, rows, k, x.data(), k, y.data());
    std::size_t wrong = 0;
    for (std::size_t i = 0; i < rows; ++i)
      for (std::size_t j = 0; j < bf16_stride(k); ++j)
        wrong += y[i * bf16_stride(k) + j] != (j < k ? to_bf16(x[i * k + j]) : bf16{});
    EXPECT_EQ(wrong, 0u) << form.name();
  }
}

}  // namespace
}  // namespace lowbit::kernels
