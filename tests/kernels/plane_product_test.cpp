#include "lowbit/kernels/plane_product.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <thread>

#include "kernels/code_support.h"
#include "lowbit/kernels/code_product.h"
#include "lowbit/kernels/packed_panels.h"
#include "lowbit/kernels/plane_product_forms.h"
#include "lowbit/kernels/reference.h"

namespace lowbit::kernels::test {
namespace {

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

// The forms by name, the AVX2 form also as what AVX-512 without VPOPCNTDQ falls back to.
std::string name(Isa isa, const Grid& x, const Grid& w) {
  return std::string(isa_name(isa)) + " w" + std::string(w.name) + "a" + std::string(x.name);
}

std::vector<Grid> grids_with_planes() {
  std::vector<Grid> grids;
  for (const Grid* grid : every_grid())
    if (has_planes(*grid)) grids.push_back(*grid);
  return grids;
}

struct Shape {
  std::size_t m, n, k;
};

// On every instruction set against the definition, planes made by the same one.
void compare(const std::vector<Shape>& shapes, std::span<const Grid> grids, Executor& executor) {
  const Rng rng(23);
  for (const Grid& x_grid : grids) {
    for (const Grid& w_grid : grids) {
      for (const auto& [m, n, k] : shapes) {
        OwnedRows x(m, k), w(n, k);
        fill_codes(x_grid, rng, 0, m, k, x);
        fill_codes(w_grid, rng, 1'000'000, n, k, w);
        std::vector<float> expected(m * n);
        for (std::size_t i = 0; i < m; ++i)
          for (std::size_t j = 0; j < n; ++j)
            expected[i * n + j] =
                reference::code_product<float>({x.codes.data() + i * code_stride(k), k}, x_grid, x.scale[i],
                                               {w.codes.data() + j * code_stride(k), k}, w_grid, w.scale[j]);
        for (const Isa isa : supported_isas()) {
          const ForcedIsa forced(isa);
          PlanePanels panels;
          make_plane_panels(executor, w_grid, n, k, w.view(), panels);
          const std::size_t stride = n + 3;
          Guarded<float> y(m * stride);
          plane_product(executor, m, x_grid, x.view(), panels.bits(), y.data(), stride);
          ASSERT_TRUE(y.intact()) << name(isa, x_grid, w_grid);
          for (std::size_t i = 0; i < m; ++i) {
            for (std::size_t j = 0; j < n; ++j)
              ASSERT_TRUE(same(y[i * stride + j], expected[i * n + j]))
                  << name(isa, x_grid, w_grid) << " m " << m << " n " << n << " k " << k << " at " << i << ", " << j
                  << ": " << y[i * stride + j] << ", not " << expected[i * n + j];
            for (std::size_t j = n; j < stride; ++j) ASSERT_TRUE(y.untouched(i * stride + j));
          }
        }
      }
    }
  }
}

TEST(PlaneProduct, EqualsTheReferenceForEveryPairOfGridsOnEveryInstructionSet) {
  SerialExecutor serial;
  const auto grids = grids_with_planes();
  ASSERT_EQ(grids.size(), 6u);  // 1, 1.58, 2, 3, 4, and 1 bit with 2:4, which is ternary
  compare({{1, 1, 1}, {1, 15, 3}, {2, 16, 32}, {3, 17, 64}, {5, 33, 96}, {7, 70, 65}, {13, 20, 160}, {17, 40, 224}},
          grids, serial);
}

TEST(PlaneProduct, EqualsTheReferenceForEveryHeightOfTilesAndTailOfOutputs) {
  SerialExecutor serial;
  std::vector<Shape> shapes;
  for (std::size_t m = 1; m <= 17; ++m)
    for (const std::size_t n : {1, 15, 16, 17, 48, 65}) shapes.push_back({m, n, 96});
  for (const std::size_t m : {95, 97, 100, 193}) shapes.push_back({m, 33, 64});
  const auto grids = grids_with_planes();
  compare(shapes, std::span(grids).first(1), serial);
  compare({{1, 70, 96}, {16, 31, 288}, {100, 17, 32}}, std::span(grids).subspan(2, 1), serial);
}

TEST(PlaneProduct, EqualsTheReferenceForRowsOfModelsWidths) {
  SerialExecutor serial;
  const auto grids = grids_with_planes();
  compare({{2, 9, 576}, {13, 18, 1536}, {3, 33, 2048}, {1, 16, 5632}}, std::span(grids).first(3), serial);
}

TEST(PlaneProduct, IsTheSameForAnyNumberOfThreads) {
  const auto grids = grids_with_planes();
  for (const int threads : {1, 2, 3}) {
    ThreadPool pool(threads);
    compare({{1, 900, 96}, {130, 200, 96}}, std::span(grids).first(1), pool);
    compare({{130, 70, 96}}, std::span(grids).subspan(1, 2), pool);
  }
}

// Every code at an end of its grid: the sum is K times one product.
TEST(PlaneProduct, IsExactAtTheLargestSums) {
  SerialExecutor serial;
  constexpr std::size_t kM = 3, kN = 17, kK = 100'000;
  for (const Grid& x_grid : grids_with_planes()) {
    for (const Grid& w_grid : grids_with_planes()) {
      for (const int x_code : {0, x_grid.levels - 1}) {
        for (const int w_code : {0, w_grid.levels - 1}) {
          OwnedRows x(kM, kK), w(kN, kK);
          for (OwnedRows* side : {&x, &w}) {
            const int code = side == &x ? x_code : w_code;
            for (std::size_t row = 0; row < side->scale.size(); ++row) {
              std::uint8_t* codes = side->codes.data() + row * code_stride(kK);
              std::fill(codes, codes + kK, static_cast<std::uint8_t>(code));
              std::fill(codes + kK, codes + code_stride(kK), std::uint8_t{0});
              side->scale[row] = 1.0f;
            }
          }
          const std::int64_t sum =
              static_cast<std::int64_t>(kK) * x_grid.value_of_code(x_code) * w_grid.value_of_code(w_code);
          for (const Isa isa : supported_isas()) {
            const ForcedIsa forced(isa);
            PlanePanels panels;
            make_plane_panels(serial, w_grid, kN, kK, w.view(), panels);
            Guarded<float> y(kM * kN);
            plane_product(serial, kM, x_grid, x.view(), panels.bits(), y.data(), kN);
            for (std::size_t i = 0; i < kM * kN; ++i)
              ASSERT_EQ(y[i], static_cast<float>(sum))
                  << name(isa, x_grid, w_grid) << " codes " << x_code << ", " << w_code;
          }
        }
      }
    }
  }
}

TEST(PlaneProduct, EqualsTheProductOfBytesOnLargerShapesAndWithSeveralCallersAtOnce) {
  const auto grids = grids_with_planes();
  std::vector<std::thread> callers;
  std::array<bool, 2> equal{};
  for (std::size_t caller = 0; caller < 2; ++caller)
    callers.emplace_back([&, caller] {
      SerialExecutor serial;
      const std::size_t m = 100 + 7 * caller, n = 130, k = 1536;
      const Grid &x_grid = grids[caller], &w_grid = grids[2];
      OwnedRows x(m, k), w(n, k);
      fill_codes(x_grid, Rng(caller), 0, m, k, x);
      fill_codes(w_grid, Rng(9), 0, n, k, w);
      CodePanels codes;
      make_panels(serial, w_grid, n, k, w.view(), codes);
      PlanePanels planes;
      make_plane_panels(serial, w_grid, n, k, w.view(), planes);
      std::vector<float> a(m * n), b(m * n);
      code_product(serial, m, x_grid, x.view(), codes, a.data(), n);
      for (int round = 0; round < 3; ++round) {
        std::fill(b.begin(), b.end(), -1.0f);
        plane_product(serial, m, x_grid, x.view(), planes.bits(), b.data(), n);
        equal[caller] = std::equal(a.begin(), a.end(), b.begin(), same);
      }
    });
  for (auto& caller : callers) caller.join();
  EXPECT_TRUE(equal[0] && equal[1]);
}

// The layout is shared with stored one-bit weights: its bytes are fixed.
TEST(PlanePanels, HaveTheBytesThatTheirHeaderStates) {
  SerialExecutor serial;
  constexpr std::size_t kN = 18, kK = 70;
  for (const Isa isa : supported_isas()) {
    const ForcedIsa forced(isa);
    const Grid& grid = *find_grid("2");
    OwnedRows w(kN, kK);
    std::fill(w.codes.data(), w.codes.data() + kN * code_stride(kK), std::uint8_t{0});
    const auto put = [&](std::size_t row, std::size_t k, std::uint8_t u) { w.codes[row * code_stride(kK) + k] = u; };
    put(0, 0, 1);    // block 0, plane 0, output 0: bit 0
    put(0, 1, 3);    // bit 8 of both planes
    put(0, 4, 2);    // bit 1 of plane 1
    put(3, 31, 3);   // output 3: bit 31 of both planes
    put(3, 66, 1);   // block 2: bit 16 of plane 0
    put(17, 37, 2);  // panel 1, output 1, block 1: code 5 = 4 * 1 + 1, bit 9 of plane 1
    for (std::size_t row = 0; row < kN; ++row) w.scale[row] = static_cast<float>(row + 1);
    PlanePanels panels;
    make_plane_panels(serial, grid, kN, kK, w.view(), panels);
    ASSERT_EQ(panels.data.size(), 2u * 4 * 2 * 16);
    std::vector<std::uint32_t> expected(panels.data.size());
    const auto at = [&](std::size_t panel, std::size_t block, std::size_t plane, std::size_t j) -> std::uint32_t& {
      return expected[((panel * 4 + block) * 2 + plane) * 16 + j];
    };
    at(0, 0, 0, 0) = 1u | 1u << 8;
    at(0, 0, 1, 0) = 1u << 8 | 1u << 1;
    at(0, 0, 0, 3) = at(0, 0, 1, 3) = 1u << 31;
    at(0, 2, 0, 3) = 1u << 16;
    at(1, 1, 1, 1) = 1u << 9;
    EXPECT_TRUE(std::equal(expected.begin(), expected.end(), panels.data.begin())) << isa_name(isa);
    for (std::size_t row = 0; row < 32; ++row)
      EXPECT_EQ(panels.scale[row], row < kN ? static_cast<float>(row + 1) : 0.0f);
  }
}

TEST(PlanePanels, OfOneBitAreTheBytesOfPackedPanelsWhichAreMultipliedWithoutACopy) {
  SerialExecutor serial;
  const Grid &w_grid = *find_grid("1"), &x_grid = *find_grid("2");
  for (const auto& [n, k] : {std::pair<std::size_t, std::size_t>{40, 130}, {16, 96}, {70, 576}}) {
    constexpr std::size_t kM = 14;
    OwnedRows x(kM, k), w(n, k);
    fill_codes(x_grid, Rng(3), 0, kM, k, x);
    fill_codes(w_grid, Rng(4), 0, n, k, w);
    PackedPanels packed;
    make_panels(serial, w_grid, n, k, w.view(), packed);
    PlanePanels planes;
    make_plane_panels(serial, w_grid, n, k, w.view(), planes);
    ASSERT_EQ(packed.data.size(), 4 * planes.data.size());
    EXPECT_EQ(std::memcmp(packed.data.data(), planes.data.data(), packed.data.size()), 0) << "n " << n << " k " << k;
    std::vector<float> a(kM * n), b(kM * n);
    plane_product(serial, kM, x_grid, x.view(), planes.bits(), a.data(), n);
    plane_product(serial, kM, x_grid, x.view(),
                  {&w_grid, n, k, reinterpret_cast<const std::uint32_t*>(packed.data.data()), packed.scale.data()},
                  b.data(), n);
    EXPECT_TRUE(std::equal(a.begin(), a.end(), b.begin(), same));
  }
}

TEST(PlanePanels, AreTheSameOnEveryInstructionSetAlsoWhenTheirMemoryIsUsedAgain) {
  ThreadPool pool(2);
  PlanePanels first, again;
  for (const auto& [n, k] : {std::pair<std::size_t, std::size_t>{40, 130}, {17, 65}, {1, 3}}) {
    for (const Grid& grid : grids_with_planes()) {
      OwnedRows w(n, k);
      fill_codes(grid, Rng(5), 77, n, k, w);
      {
        const ForcedIsa forced(Isa::scalar);
        first = {};
        make_plane_panels(pool, grid, n, k, w.view(), first);
      }
      for (const Isa isa : supported_isas()) {
        const ForcedIsa forced(isa);
        make_plane_panels(pool, grid, n, k, w.view(), again);
        ASSERT_EQ(first.data.size(), again.data.size());
        EXPECT_TRUE(std::equal(first.data.begin(), first.data.end(), again.data.begin()))
            << isa_name(isa) << " grid " << grid.name << " n " << n << " k " << k;
      }
    }
  }
}

}  // namespace
}  // namespace lowbit::kernels::test
