#include <gtest/gtest.h>

#include <algorithm>

#include "kernels/code_support.h"
#include "lowbit/base/error.h"
#include "lowbit/formats/layout.h"
#include "lowbit/kernels/packed_panels.h"
#include "lowbit/kernels/reference.h"

namespace lowbit::kernels::test {
namespace {

void fill_codes(const Grid& grid, std::uint64_t seed, std::size_t rows, std::size_t k, OwnedRows& out) {
  const Rng rng(seed);
  for (std::size_t row = 0; row < rows; ++row) {
    out.scale[row] = static_cast<float>(0.001 + rng.uniform(row));
    out.sum[row] = 0;
    for (std::size_t i = 0; i < code_stride(k); ++i) {
      const auto u = i < k ? rng.below(1000 + row * k + i, static_cast<std::uint64_t>(grid.levels)) : 0;
      out.codes[row * code_stride(k) + i] = static_cast<std::uint8_t>(u);
      out.sum[row] += static_cast<std::int32_t>(u);
    }
  }
}

// All of m rows and n outputs for every instruction set, against the definition.
void compare(const Grid& x_grid, const Grid& w_grid, std::size_t m, std::size_t n, std::size_t k, Executor& executor,
             bool with_scalar = true) {
  OwnedRows x(m, k), w(n, k);
  fill_codes(x_grid, 5 + m, m, k, x);
  fill_codes(w_grid, 6 + n, n, k, w);
  std::vector<float> expected(m * n);
  for (std::size_t i = 0; i < m; ++i)
    for (std::size_t j = 0; j < n; ++j)
      expected[i * n + j] =
          reference::code_product<float>({x.codes.data() + i * code_stride(k), k}, x_grid, x.scale[i],
                                         {w.codes.data() + j * code_stride(k), k}, w_grid, w.scale[j]);
  PackedPanels panels;
  make_panels(executor, w_grid, n, k, w.view(), panels);
  const std::size_t stride = n + 3;
  for (const Isa isa : supported_isas()) {
    if (isa == Isa::scalar && !with_scalar) continue;
    const ForcedIsa forced(isa);
    Guarded<float> y(m * stride);
    code_product(executor, m, x_grid, x.view(), panels, y.data(), stride);
    const std::string what = std::string(isa_name(isa)) + " w" + std::string(w_grid.name) + "a" +
                             std::string(x_grid.name) + " m " + std::to_string(m) + " n " + std::to_string(n) + " k " +
                             std::to_string(k);
    ASSERT_TRUE(y.intact()) << what << ": wrote outside of its rows";
    for (std::size_t i = 0; i < m; ++i) {
      for (std::size_t j = 0; j < n; ++j)
        ASSERT_TRUE(same(y[i * stride + j], expected[i * n + j]))
            << what << " at " << i << ", " << j << ": " << y[i * stride + j] << ", not " << expected[i * n + j];
      for (std::size_t j = n; j < stride; ++j) ASSERT_TRUE(y.untouched(i * stride + j)) << what;
    }
  }
}

TEST(PackedProduct, EqualsTheReferenceForEveryPairOfGridsOnEveryInstructionSet) {
  SerialExecutor serial;
  struct Shape {
    std::size_t m, n, k;
  };
  for (const Grid& x_grid : kGrids)
    for (const Grid& w_grid : kGrids)
      for (const auto& [m, n, k] : {Shape{1, 1, 1},
                                    {1, 15, 3},
                                    {1, 70, 160},
                                    {2, 16, 32},
                                    {3, 17, 64},
                                    {5, 33, 96},
                                    {6, 64, 33},
                                    {17, 70, 160}}) {
        compare(x_grid, w_grid, m, n, k, serial);
        if (HasFatalFailure()) return;
      }
}

TEST(PackedProduct, EqualsTheReferenceForEveryNumberOfRowsAndTailOfOutputs) {
  ThreadPool pool(2);
  for (const Grid& w_grid : kGrids) {
    for (std::size_t m = 1; m <= 17; ++m)
      for (const std::size_t n : {1, 16, 47, 65, 130}) {
        compare(kGrids[(m + n) % kGrids.size()], w_grid, m, n, 96, pool);
        if (HasFatalFailure()) return;
      }
    for (const std::size_t m : {24, 100, 260}) {
      compare(kGrids[7], w_grid, m, 70, 100, pool, m < 200);
      if (HasFatalFailure()) return;
    }
    compare(kGrids.back(), w_grid, 1, 900, 576, pool);
    compare(kGrids.back(), w_grid, 4, 130, 2048, pool);
    if (HasFatalFailure()) return;
  }
}

TEST(PackedProduct, IsTheSameForAnyNumberOfThreads) {
  for (const int threads : {1, 2, 3}) {
    ThreadPool pool(threads);
    for (const std::size_t m : {1, 7, 130}) compare(kGrids[8], kGrids[3], m, 900, 96, pool, false);
  }
}

TEST(PackedProduct, SeveralProductsOfTheSameRowsAreEachAsAlone) {
  ThreadPool pool(2);
  constexpr std::size_t kK = 160;
  const Grid& x_grid = kGrids.back();
  for (const std::size_t m : {1, 3, 40}) {
    OwnedRows x(m, kK);
    fill_codes(x_grid, 1, m, kK, x);
    PackedPanels panels[3];
    std::vector<float> alone[3], together[3];
    std::vector<PackedProduct> products;
    for (std::size_t i = 0; i < 3; ++i) {
      const std::size_t n = 40 + 100 * i;
      OwnedRows w(n, kK);
      fill_codes(kGrids[2 * i], 10 + i, n, kK, w);
      make_panels(pool, kGrids[2 * i], n, kK, w.view(), panels[i]);
      alone[i].resize(m * n);
      together[i].resize(m * n);
      code_product(pool, m, x_grid, x.view(), panels[i], alone[i].data(), n);
      products.push_back({&panels[i], together[i].data(), n});
    }
    code_products(pool, m, x_grid, x.view(), products);
    for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(alone[i], together[i]) << m << " rows, product " << i;
  }
}

// All codes at an end of their grids, at the longest row that is allowed (or 300,000): the sum is K times one product,
// whatever wraps on the way, and nothing is lost where partial sums are shifted.
TEST(PackedProduct, IsExactAtTheLargestSumsThatItsHeaderAllows) {
  SerialExecutor serial;
  constexpr std::size_t kN = 17;
  for (const Grid& x_grid : kGrids) {
    for (const Grid& w_grid : kGrids) {
      const auto k = static_cast<std::size_t>(std::min<std::int64_t>(longest_row(x_grid, w_grid), 300'000));
      for (const int w_code : {0, w_grid.levels - 1}) {
        OwnedRows w(kN, k);
        for (std::size_t row = 0; row < kN; ++row) {
          std::uint8_t* codes = w.codes.data() + row * code_stride(k);
          std::fill(codes, codes + k, static_cast<std::uint8_t>(w_code));
          std::fill(codes + k, codes + code_stride(k), std::uint8_t{0});
          w.scale[row] = 1.0f;
        }
        PackedPanels panels;
        make_panels(serial, w_grid, kN, k, w.view(), panels);
        for (const std::size_t m : {1, 3}) {
          for (const int x_code : {0, x_grid.levels - 1}) {
            OwnedRows x(m, k);
            for (std::size_t row = 0; row < m; ++row) {
              std::uint8_t* codes = x.codes.data() + row * code_stride(k);
              std::fill(codes, codes + k, static_cast<std::uint8_t>(x_code));
              std::fill(codes + k, codes + code_stride(k), std::uint8_t{0});
              x.scale[row] = 1.0f;
              x.sum[row] = static_cast<std::int32_t>(k) * x_code;
            }
            const std::int64_t sum =
                static_cast<std::int64_t>(k) * x_grid.value_of_code(x_code) * w_grid.value_of_code(w_code);
            for (const Isa isa : supported_isas()) {
              if (isa == Isa::scalar) continue;  // too slow here, and the definition itself
              const ForcedIsa forced(isa);
              std::vector<float> y(m * kN);
              code_product(serial, m, x_grid, x.view(), panels, y.data(), kN);
              for (const float value : y)
                ASSERT_EQ(value, static_cast<float>(sum)) << isa_name(isa) << " w" << w_grid.name << "a" << x_grid.name
                                                          << " rows " << m << " codes " << x_code << ", " << w_code;
            }
          }
        }
      }
    }
  }
}

// The layout spelt out by itself: each bit of each code at its place, all else 0, from either source, in used memory.
TEST(PackedPanels, HoldEachBitAtItsPlaceAndZerosElsewhereFromBytesAndFromTheCanonicalLayout) {
  SerialExecutor serial;
  PackedPanels panels, from_canonical;
  for (const auto& [n, k] : {std::pair<std::size_t, std::size_t>{40, 130}, {17, 65}, {16, 96}, {33, 64}, {1, 3}}) {
    for (const Grid& grid : kGrids) {
      OwnedRows w(n, k);
      fill_codes(grid, 3, n, k, w);
      make_panels(serial, grid, n, k, w.view(), panels);
      const auto b = static_cast<std::size_t>(grid.storage_bits);
      const std::size_t padded = (n + 15) / 16 * 16;
      ASSERT_EQ(panels.data.size(), padded * code_stride(k) * b / 8);
      EXPECT_EQ(panels.bytes(), panels.data.size() + 8 * padded);
      std::vector<std::uint8_t> expected(panels.data.size());
      for (std::size_t row = 0; row < n; ++row) {
        std::int32_t sum = 0;
        for (std::size_t i = 0; i < k; ++i) {
          const unsigned code = w.codes[row * code_stride(k) + i];
          sum += static_cast<std::int32_t>(code);
          std::uint8_t* block =
              expected.data() + (row / 16 * (code_stride(k) / 32) + i / 32) * 64 * b + row % 16 * 4 + i % 4;
          const std::size_t quad = i % 32 / 4;
          for (std::size_t f = 8, low = 0; f > 0; f /= 2) {
            if (!(b & f)) continue;
            const unsigned field = code >> low & ((1u << f) - 1);
            block[(low + quad * f / 8) * 64] |= static_cast<std::uint8_t>(field << quad % (8 / f) * f);
            low += f;
          }
        }
        ASSERT_EQ(panels.sum[row], sum) << "grid " << grid.name << " row " << row;
        ASSERT_EQ(panels.scale[row], w.scale[row]);
      }
      for (std::size_t row = n; row < padded; ++row) EXPECT_TRUE(panels.sum[row] == 0 && panels.scale[row] == 0.0f);
      ASSERT_TRUE(std::equal(expected.begin(), expected.end(), panels.data.begin(), panels.data.end()))
          << "grid " << grid.name << " n " << n << " k " << k;

      std::vector<std::uint8_t> canonical(n * canonical_row_bytes(grid, k));
      for (std::size_t row = 0; row < n; ++row) {
        const std::span packed(canonical.data() + row * canonical_row_bytes(grid, k), canonical_row_bytes(grid, k));
        pack_canonical(grid, {w.codes.data() + row * code_stride(k), k}, packed);
        // Bits behind a row's last code are nobody's: they must not reach the panels.
        if (k * b % 8) packed.back() |= static_cast<std::uint8_t>(0xFF << k * b % 8);
      }
      make_panels(serial, grid, n, k, canonical, {w.scale.data(), n}, from_canonical);
      ASSERT_TRUE(std::equal(expected.begin(), expected.end(), from_canonical.data.begin(), from_canonical.data.end()))
          << "canonical, grid " << grid.name << " n " << n << " k " << k;
      EXPECT_TRUE(std::equal(panels.sum.begin(), panels.sum.end(), from_canonical.sum.begin()));
      EXPECT_TRUE(std::equal(panels.scale.begin(), panels.scale.end(), from_canonical.scale.begin()));
    }
  }
}

// Written out by hand: output 1 of a panel holds the codes k mod 2^b; the first bytes of its dwords, vector by vector.
TEST(PackedPanels, HaveTheseBytes) {
  SerialExecutor serial;
  const std::vector<std::vector<std::uint8_t>> golden = {
      {0x00, 0xFF, 0x00, 0xFF},
      {0x00, 0x55, 0xAA, 0xFF, 0x00, 0x55, 0xAA, 0xFF},
      {0x00, 0x55, 0xAA, 0xFF, 0x00, 0x55, 0xAA, 0xFF, 0xAA, 0xAA, 0xAA, 0xAA},
      {0x40, 0x51, 0x62, 0x73, 0xC8, 0xD9, 0xEA, 0xFB, 0x40, 0x51, 0x62, 0x73, 0xC8, 0xD9, 0xEA, 0xFB},
      {0x40, 0x51, 0x62, 0x73, 0xC8, 0xD9, 0xEA, 0xFB, 0x40, 0x51,
       0x62, 0x73, 0xC8, 0xD9, 0xEA, 0xFB, 0xF0, 0xF0, 0xF0, 0xF0},
      {0x40, 0x51, 0x62, 0x73, 0xC8, 0xD9, 0xEA, 0xFB, 0x40, 0x51, 0x62, 0x73,
       0xC8, 0xD9, 0xEA, 0xFB, 0x00, 0x00, 0x00, 0x00, 0x55, 0x55, 0x55, 0x55},
      {0x40, 0x51, 0x62, 0x73, 0xC8, 0xD9, 0xEA, 0xFB, 0x40, 0x51, 0x62, 0x73, 0xC8, 0xD9,
       0xEA, 0xFB, 0x00, 0x00, 0x00, 0x00, 0x55, 0x55, 0x55, 0x55, 0x00, 0x00, 0x00, 0x00},
      {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
       16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31},
  };
  for (const Grid& grid : kGrids) {
    if (grid.levels == 3) continue;  // the 2-bit layout
    const auto bits = static_cast<std::size_t>(grid.storage_bits);
    OwnedRows w(2, 32);
    std::fill(w.codes.data(), w.codes.data() + w.codes.size(), std::uint8_t{0});
    for (std::size_t i = 0; i < 32; ++i)
      w.codes[64 + i] = static_cast<std::uint8_t>(i % static_cast<std::size_t>(grid.levels));
    PackedPanels panels;
    make_panels(serial, grid, 2, 32, w.view(), panels);
    std::vector<std::uint8_t> bytes;
    for (std::size_t v = 0; v < bits; ++v)
      bytes.insert(bytes.end(), &panels.data[64 * v + 4], &panels.data[64 * v + 8]);
    EXPECT_EQ(bytes, golden[bits - 1]) << "grid " << grid.name;
    // The pad block and the other outputs are empty.
    EXPECT_EQ(std::count(panels.data.begin(), panels.data.end(), 0),
              static_cast<std::ptrdiff_t>(panels.data.size()) -
                  std::count_if(bytes.begin(), bytes.end(), [](auto v) { return v != 0; }));
  }
}

TEST(PackedPanels, RefuseACodeThatTheGridDoesNotHave) {
  ThreadPool pool(2);
  const Grid& ternary = *find_grid("1.58");
  constexpr std::size_t kN = 40, kK = 65;
  std::vector<std::uint8_t> canonical(kN * canonical_row_bytes(ternary, kK));
  const std::vector<float> scale(kN, 1.0f);
  PackedPanels panels;
  make_panels(pool, ternary, kN, kK, canonical, scale, panels);
  canonical[30 * canonical_row_bytes(ternary, kK) + 16] = 3;  // the last code of row 30
  try {
    make_panels(pool, ternary, kN, kK, canonical, scale, panels);
    FAIL() << "took the code 3";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::input);
    EXPECT_NE(std::string(error.what()).find("the code 3"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace lowbit::kernels::test
