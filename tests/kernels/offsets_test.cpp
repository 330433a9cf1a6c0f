#include "lowbit/kernels/offsets.h"

#include <gtest/gtest.h>

#include <vector>

#include "kernels/code_support.h"
#include "lowbit/kernels/backward.h"
#include "lowbit/kernels/reference_backward.h"

// Sides that are coded around an offset: codes, and what is added to a product, bit for bit as reference.h has them.
namespace lowbit::kernels::test {
namespace {

std::vector<float> draws(std::size_t n, std::uint64_t seed, double mean) {
  const Rng rng(seed);
  std::vector<float> x(n);
  for (std::size_t i = 0; i < n; ++i) x[i] = static_cast<float>(mean + rng.normal(i));
  return x;
}

TEST(Offsets, RowsWithAShiftAreCodedAsTheDefinitionOnEveryInstructionSet) {
  constexpr std::size_t kRows = 5, kK = 192;
  const std::vector<float> x = draws(kRows * kK, 3, 0.4);
  for (const Isa isa : supported_isas()) {
    const ForcedIsa forced(isa);
    ThreadPool pool(2);
    for (const int group : {1, 64})
      for (const Shift shift : {Shift::learned, Shift::mean}) {
        RowCoding coding{find_grid(shift == Shift::mean ? "1" : "3"), group, TrustRule{3.5}, ScaleRule::learned};
        coding.step = 0.37f;
        coding.shift = shift;
        coding.offset = 0.25f;
        if (shift == Shift::mean) {
          coding.scale = ScaleRule::deviation;
          coding.trust = TrustRule{1.2};
        }
        std::vector<std::uint8_t> codes(kRows * code_stride(kK));
        std::vector<float> scale(kRows), offset(kRows, 7);
        std::vector<std::int32_t> sum(kRows);
        std::vector<std::uint64_t> mask(kRows * mask_words(kK));
        code_rows(pool, coding, kRows, kK, x.data(), kK,
                  {codes.data(), scale.data(), sum.data(), mask.data(), offset.data()});
        for (std::size_t r = 0; r < kRows; ++r) {
          std::vector<float> row(x.begin() + static_cast<std::ptrdiff_t>(r * kK),
                                 x.begin() + static_cast<std::ptrdiff_t>((r + 1) * kK));
          reference::hadamard_row<float>(row, group);
          const float by = shift == Shift::mean ? reference::row_mean<float>(row) : coding.offset;
          reference::shift_row<float>(row, by);
          SideCoding side{coding.grid, coding.trust, coding.scale};
          side.step = static_cast<double>(coding.step);
          std::vector<std::uint8_t> wanted(kK);
          const auto coded = reference::code_row<float>(row, side, wanted.data());
          EXPECT_TRUE(same(scale[r], coded.scale)) << isa_name(isa);
          EXPECT_EQ(offset[r], shift == Shift::mean ? by : 7.0f);
          std::int32_t total = 0;
          for (std::size_t i = 0; i < kK; ++i) {
            ASSERT_EQ(codes[r * code_stride(kK) + i], wanted[i]) << isa_name(isa) << " " << r << " " << i;
            ASSERT_EQ(mask[r * mask_words(kK) + i / 64] >> (i % 64) & 1,
                      std::uint64_t{reference::trusted(row[i], coded, false)});
            total += wanted[i];
          }
          EXPECT_EQ(sum[r], total);
        }
      }
  }
}

TEST(Offsets, WhatIsAddedToAProductIsTheDefinitionForAnyThreads) {
  constexpr std::size_t kM = 70, kN = 1003, kK = 96, kStride = 1010;
  const std::vector<float> y = draws(kM * kStride, 5, 0), x_sum = draws(kM, 6, 0), w_offset = draws(kN, 7, 0),
                           scale = draws(kN, 8, 1);
  const Rng rng(9);
  for (const char* name : {"1", "1.58", "4"}) {
    const Grid& grid = *find_grid(name);
    std::vector<std::int32_t> sums(kN);
    for (std::size_t i = 0; i < kN; ++i)
      sums[i] = static_cast<std::int32_t>(rng.below(i, kK * static_cast<std::uint64_t>(grid.levels - 1)));
    for (const int threads : {1, 3}) {
      ThreadPool pool(threads);
      std::vector<float> of(kN), found = y;
      value_sums(grid, kN, kK, sums.data(), scale.data(), of.data());
      add_offset(pool, kM, kN, 0.3f, of.data(), found.data(), kStride);
      add_row_offsets(pool, kM, kN, x_sum.data(), w_offset.data(), found.data(), kStride);
      for (std::size_t m = 0; m < kM; ++m)
        for (std::size_t i = 0; i < kStride; ++i) {
          float wanted = y[m * kStride + i];
          if (i < kN) {
            const std::int64_t levels =
                std::int64_t{grid.multiplier()} * sums[i] + static_cast<std::int64_t>(kK) * grid.value_of_code(0);
            wanted += reference::offset_term(0.3f, levels, scale[i]);
            wanted += x_sum[m] * w_offset[i];
          }
          ASSERT_TRUE(same(found[m * kStride + i], wanted)) << name << " " << m << " " << i;
        }
    }
  }
}

TEST(Offsets, SumsForGradientsAreThoseOfLoopsInDouble) {
  constexpr std::size_t kRows = 37, kN = 130, kK = 64;
  const std::vector<float> dy = draws(kRows * kN, 11, 0.1), offset = draws(kN, 12, 0);
  std::vector<float> x = draws(kRows * kK, 13, 0);
  const std::vector<float> before = x;
  ThreadPool pool(2);
  std::vector<double> columns(kN);
  column_sums(pool, kRows, kN, dy.data(), columns.data());
  add_row_dots(pool, kRows, kN, kK, dy.data(), offset.data(), x.data());
  for (std::size_t j = 0; j < kN; ++j) {
    double sum = 0;
    for (std::size_t r = 0; r < kRows; ++r) sum += static_cast<double>(dy[r * kN + j]);
    EXPECT_NEAR(columns[j], sum, 1e-5) << j;
  }
  for (std::size_t r = 0; r < kRows; ++r) {
    double sum = 0;
    for (std::size_t j = 0; j < kN; ++j) sum += static_cast<double>(dy[r * kN + j]) * static_cast<double>(offset[j]);
    for (std::size_t i = 0; i < kK; ++i) EXPECT_NEAR(x[r * kK + i], before[r * kK + i] + static_cast<float>(sum), 2e-5);
  }
}

// Any odd length: some entries past the last whole vector.
TEST(Offsets, GradientsOfStepsAndOffsetsAreTheDefinitionsOnEveryInstructionSet) {
  constexpr std::size_t kRows = 7, kK = 203;
  const std::vector<float> x = draws(kRows * kK, 21, 0.3), g = draws(kRows * kK, 22, 0);
  const Rng rng(23);
  for (const Isa isa : supported_isas()) {
    const ForcedIsa forced(isa);
    ThreadPool pool(2);
    for (const char* name : {"1", "1.58", "4"})
      for (const bool clamped_only : {false, true}) {
        const Grid& grid = *find_grid(name);
        std::vector<std::uint8_t> codes(kRows * code_stride(kK));
        for (std::size_t i = 0; i < codes.size(); ++i)
          codes[i] = static_cast<std::uint8_t>(rng.below(i, static_cast<std::uint64_t>(grid.levels)));
        const float step = 2.0f / static_cast<float>(grid.levels), offset = 0.2f;
        const auto found =
            step_gradient(pool, 1, grid, step, offset, clamped_only, kRows, kK, g.data(), x.data(), codes.data());
        double of_step = 0, of_offset = 0;
        for (std::size_t r = 0; r < kRows; ++r) {
          std::vector<double> row(x.begin() + static_cast<std::ptrdiff_t>(r * kK),
                                  x.begin() + static_cast<std::ptrdiff_t>((r + 1) * kK));
          const std::vector<double> of_row(g.begin() + static_cast<std::ptrdiff_t>(r * kK),
                                           g.begin() + static_cast<std::ptrdiff_t>((r + 1) * kK));
          reference::shift_row<double>(row, static_cast<double>(offset));
          of_step += reference::step_gradient_row<double>(of_row, row, codes.data() + r * code_stride(kK), grid,
                                                          static_cast<double>(step), clamped_only);
          of_offset += reference::offset_gradient_row<double>(of_row, row, grid, static_cast<double>(step));
        }
        EXPECT_NEAR(found.step, of_step, 1e-4 * grid.levels) << isa_name(isa) << " " << name;
        EXPECT_NEAR(found.offset, of_offset, 1e-4) << isa_name(isa) << " " << name;
      }
    std::vector<float> dx = g;
    const auto found = adabin_input(pool, 1, 0.9f, 0.2f, kRows, kK, dx.data(), x.data());
    double of_alpha = 0, of_beta = 0;
    for (std::size_t r = 0; r < kRows; ++r) {
      std::vector<double> row(x.begin() + static_cast<std::ptrdiff_t>(r * kK),
                              x.begin() + static_cast<std::ptrdiff_t>((r + 1) * kK));
      std::vector<double> of_row(g.begin() + static_cast<std::ptrdiff_t>(r * kK),
                                 g.begin() + static_cast<std::ptrdiff_t>((r + 1) * kK));
      reference::shift_row<double>(row, static_cast<double>(0.2f));
      const auto [alpha, beta] = reference::adabin_input_row<double>(of_row, row, static_cast<double>(0.9f));
      of_alpha += alpha;
      of_beta += beta;
      for (std::size_t i = 0; i < kK; ++i) ASSERT_NEAR(dx[r * kK + i], of_row[i], 1e-5) << isa_name(isa) << " " << i;
    }
    EXPECT_NEAR(found.alpha, of_alpha, 1e-3) << isa_name(isa);
    EXPECT_NEAR(found.beta, of_beta, 1e-3) << isa_name(isa);
  }
}

TEST(Offsets, GradientsOfStepsRotateRowsAsTheyWereCoded) {
  constexpr std::size_t kRows = 90, kK = 192;  // several tasks
  constexpr int kGroup = 64;
  const std::vector<float> x = draws(kRows * kK, 31, 0.1), g = draws(kRows * kK, 32, 0);
  const Grid& grid = *find_grid("4");
  std::vector<std::uint8_t> codes(kRows * code_stride(kK), 3);
  for (const Isa isa : supported_isas()) {
    const ForcedIsa forced(isa);
    ThreadPool pool(2);
    std::vector<float> rotated(x.size());
    rotate_rows(pool, kGroup, kRows, kK, x.data(), kK, rotated.data(), kK);
    const auto own = step_gradient(pool, kGroup, grid, 0.3f, 0.1f, false, kRows, kK, g.data(), x.data(), codes.data());
    const auto before =
        step_gradient(pool, 1, grid, 0.3f, 0.1f, false, kRows, kK, g.data(), rotated.data(), codes.data());
    EXPECT_EQ(own.step, before.step) << isa_name(isa);
    EXPECT_EQ(own.offset, before.offset) << isa_name(isa);
    EXPECT_NE(own.step,
              step_gradient(pool, 1, grid, 0.3f, 0.1f, false, kRows, kK, g.data(), x.data(), codes.data()).step);
    std::vector<float> d = g, e = g;
    EXPECT_EQ(adabin_input(pool, kGroup, 0.9f, 0.2f, kRows, kK, d.data(), x.data()).alpha,
              adabin_input(pool, 1, 0.9f, 0.2f, kRows, kK, e.data(), rotated.data()).alpha);
    EXPECT_EQ(d, e) << isa_name(isa);
  }
}

}  // namespace
}  // namespace lowbit::kernels::test
