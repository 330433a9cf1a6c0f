#include "lowbit/kernels/code_product.h"

#include <gtest/gtest.h>

#include "kernels/code_support.h"
#include "lowbit/kernels/reference.h"

namespace lowbit::kernels::test {
namespace {

// Random codes, with all levels of the grid; sums are those of the codes.
void fill_codes(const Grid& grid, const Rng& rng, std::uint64_t begin, std::size_t rows, std::size_t k,
                OwnedRows& out) {
  for (std::size_t row = 0; row < rows; ++row) {
    out.scale[row] = static_cast<float>(0.001 + rng.uniform(begin + row));
    out.sum[row] = 0;
    for (std::size_t i = 0; i < code_stride(k); ++i) {
      const auto u = i < k ? rng.below(begin + 100 + row * k + i, static_cast<std::uint64_t>(grid.levels)) : 0;
      out.codes[row * code_stride(k) + i] = static_cast<std::uint8_t>(u);
      out.sum[row] += static_cast<std::int32_t>(u);
    }
  }
}

void expect_product(const Grid& x_grid, const Grid& w_grid, std::size_t m, std::size_t n, std::size_t k, OwnedRows& x,
                    OwnedRows& w, Guarded<float>& y, std::size_t stride, const std::string& what) {
  ASSERT_TRUE(y.intact()) << what << ": wrote outside of its rows";
  for (std::size_t i = 0; i < m; ++i) {
    for (std::size_t j = 0; j < n; ++j) {
      const float expected =
          reference::code_product<float>({x.codes.data() + i * code_stride(k), k}, x_grid, x.scale[i],
                                         {w.codes.data() + j * code_stride(k), k}, w_grid, w.scale[j]);
      ASSERT_TRUE(same(y[i * stride + j], expected)) << what << " m " << m << " n " << n << " k " << k << " at " << i
                                                     << ", " << j << ": " << y[i * stride + j] << ", not " << expected;
    }
    for (std::size_t j = n; j < stride; ++j) ASSERT_TRUE(y.untouched(i * stride + j)) << what;
  }
}

std::string name(Isa isa, const Grid& x, const Grid& w) {
  return std::string(isa_name(isa)) + " w" + std::string(w.name) + "a" + std::string(x.name);
}

struct Shape {
  std::size_t m, n, k;
};

void compare(const std::vector<Shape>& shapes, std::span<const Grid> grids, Executor& executor) {
  const Rng rng(21);
  for (const Grid& x_grid : grids) {
    for (const Grid& w_grid : grids) {
      for (const auto& [m, n, k] : shapes) {
        OwnedRows x(m, k), w(n, k);
        fill_codes(x_grid, rng, 0, m, k, x);
        fill_codes(w_grid, rng, 1'000'000, n, k, w);
        CodePanels panels;
        make_panels(executor, w_grid, n, k, w.view(), panels);
        for (const Isa isa : supported_isas()) {
          const ForcedIsa forced(isa);
          Guarded<float> y(m * (n + 3));
          code_product(executor, m, x_grid, x.view(), panels, y.data(), n + 3);
          expect_product(x_grid, w_grid, m, n, k, x, w, y, n + 3, name(isa, x_grid, w_grid));
          if (testing::Test::HasFatalFailure()) return;
        }
      }
    }
  }
}

TEST(CodeProduct, EqualsTheReferenceForEveryPairOfGridsOnEveryInstructionSet) {
  SerialExecutor serial;
  compare({{1, 1, 1}, {1, 15, 3}, {2, 16, 32}, {3, 17, 64}, {5, 33, 96}, {7, 100, 65}, {8, 20, 128}, {17, 70, 160}},
          integer_grids(), serial);
}

TEST(CodeProduct, EqualsTheReferenceForEveryHeightOfTilesAndTailOfOutputs) {
  SerialExecutor serial;
  std::vector<Shape> shapes;
  for (std::size_t m = 1; m <= 14; ++m)
    for (const std::size_t n : {1, 15, 16, 17, 48, 63, 65, 130}) shapes.push_back({m, n, 36});
  for (const std::size_t m : {95, 96, 97, 193}) shapes.push_back({m, 33, 64});
  shapes.push_back({2, 9, 576});
  shapes.push_back({3, 18, 1536});
  compare(shapes, std::span(kGrids).subspan(4, 1), serial);                     // "4"
  compare({{4, 40, 2048}, {97, 129, 576}}, std::span(kGrids).last(1), serial);  // "8"
}

TEST(CodeProduct, IsTheSameForAnyNumberOfThreads) {
  for (const int threads : {1, 2, 3}) {
    ThreadPool pool(threads);
    compare({{1, 900, 96}, {130, 200, 96}}, std::span(kGrids).subspan(3, 2), pool);
  }
}

// All codes at an end of their grids, at the longest row that is allowed (or 300,000): the sum is K times one product,
// whatever wraps on the way.
TEST(CodeProduct, IsExactAtTheLargestSumsThatItsHeaderAllows) {
  SerialExecutor serial;
  constexpr std::size_t kM = 3, kN = 17;
  for (const Grid& x_grid : integer_grids()) {
    for (const Grid& w_grid : integer_grids()) {
      if (x_grid.dense) continue;  // weights alone
      const auto k = static_cast<std::size_t>(std::min<std::int64_t>(longest_row(x_grid, w_grid), 300'000));
      for (const int x_code : {0, x_grid.levels - 1}) {
        for (const int w_code : {0, w_grid.levels - 1}) {
          OwnedRows x(kM, k), w(kN, k);
          for (OwnedRows* side : {&x, &w}) {
            const int code = side == &x ? x_code : w_code;
            for (std::size_t row = 0; row < side->scale.size(); ++row) {
              std::uint8_t* codes = side->codes.data() + row * code_stride(k);
              std::fill(codes, codes + k, static_cast<std::uint8_t>(code));
              std::fill(codes + k, codes + code_stride(k), std::uint8_t{0});
              side->scale[row] = 1.0f;
              side->sum[row] = static_cast<std::int32_t>(k) * code;
            }
          }
          const std::int64_t sum =
              static_cast<std::int64_t>(k) * x_grid.value_of_code(x_code) * w_grid.value_of_code(w_code);
          ASSERT_LE(std::abs(sum), 2147483647);
          CodePanels panels;
          make_panels(serial, w_grid, kN, k, w.view(), panels);
          for (const Isa isa : supported_isas()) {
            if (isa == Isa::scalar) continue;  // too slow here, and the definition itself
            const ForcedIsa forced(isa);
            Guarded<float> y(kM * kN);
            code_product(serial, kM, x_grid, x.view(), panels, y.data(), kN);
            ASSERT_TRUE(y.intact());
            for (std::size_t i = 0; i < kM * kN; ++i)
              ASSERT_EQ(y[i], static_cast<float>(sum))
                  << name(isa, x_grid, w_grid) << " k " << k << " codes " << x_code << ", " << w_code;
          }
        }
      }
    }
  }
}

TEST(CodePanels, HoldEachCodeAtItsPlaceAndZerosElsewhereAlsoWhenTheirMemoryIsUsedAgain) {
  SerialExecutor serial;
  const Rng rng(8);
  CodePanels panels;
  for (const auto& [n, k] : {std::pair<std::size_t, std::size_t>{40, 130}, {17, 65}, {1, 3}}) {
    for (const Grid& grid : kGrids) {
      OwnedRows w(n, k);
      fill_codes(grid, rng, 77, n, k, w);
      make_panels(serial, grid, n, k, w.view(), panels);
      EXPECT_EQ(panels.n, n);
      EXPECT_EQ(panels.k, k);
      EXPECT_EQ(panels.grid, &grid);
      const std::size_t padded = (n + 15) / 16 * 16;
      ASSERT_EQ(panels.data.size(), padded * code_stride(k));
      ASSERT_EQ(panels.sum.size(), padded);
      ASSERT_EQ(panels.scale.size(), padded);
      for (std::size_t row = 0; row < padded; ++row) {
        std::int32_t sum = 0;
        for (std::size_t i = 0; i < code_stride(k); ++i) {
          const int expected = row < n && i < k ? w.codes[row * code_stride(k) + i] + grid.lowest() : 0;
          sum += expected;
          ASSERT_EQ(panels.data[(row / 16 * (code_stride(k) / 4) + i / 4) * 64 + row % 16 * 4 + i % 4], expected)
              << "grid " << grid.name << " row " << row << " at " << i;
        }
        EXPECT_EQ(panels.sum[row], sum);
        EXPECT_EQ(panels.scale[row], row < n ? w.scale[row] : 0.0f);
      }
    }
  }
}

// LOWBIT_FUZZ_ROUNDS of them: 60 unless told.
TEST(CodeProduct, EqualsTheReferenceOnRandomShapesFromFloatsToOutputs) {
  const char* asked = std::getenv("LOWBIT_FUZZ_ROUNDS");
  const std::uint64_t rounds = asked ? std::strtoull(asked, nullptr, 10) : 60;
  const Rng rng(31);
  ThreadPool pool(2);
  for (std::uint64_t round = 0; round < rounds; ++round) {
    const std::uint64_t base = round * 1'000'000;
    const int group = 1 << rng.below(base, 8);
    const std::size_t k = static_cast<std::size_t>(group) * (1 + rng.below(base + 1, group == 1   ? 300
                                                                                     : group < 32 ? 20
                                                                                                  : 5));
    const std::size_t m = 1 + rng.below(base + 2, 20), n = 1 + rng.below(base + 3, 80);
    const Grid& x_grid = kGrids[rng.below(base + 4, kGrids.size())];
    const Grid& w_grid = kGrids[rng.below(base + 5, kGrids.size())];
    std::vector<float> a(m * k), b(n * k);
    for (std::size_t row = 0; row < m; ++row)
      fill_row(static_cast<Content>(rng.below(base + 6 + row, static_cast<std::uint64_t>(Content::one_infinity))), rng,
               base + 1000 + row * k, a.data() + row * k, k);
    fill_row(Content::normal, rng, base + 500'000, b.data(), b.size());
    for (const Isa isa : supported_isas()) {
      const ForcedIsa forced(isa);
      OwnedRows x(m, k), w(n, k, false);
      code_rows(pool, {&x_grid, group, 1.5}, m, k, a.data(), k, x.view());
      code_rows(pool, {&w_grid, group, 1.5}, n, k, b.data(), k, w.view());
      ASSERT_TRUE(x.intact() && w.intact());
      CodePanels panels;
      make_panels(pool, w_grid, n, k, w.view(), panels);
      Guarded<float> y(m * n);
      code_product(pool, m, x_grid, x.view(), panels, y.data(), n);
      expect_product(x_grid, w_grid, m, n, k, x, w, y, n, name(isa, x_grid, w_grid));
      if (HasFatalFailure()) return;
    }
  }
}

}  // namespace
}  // namespace lowbit::kernels::test
