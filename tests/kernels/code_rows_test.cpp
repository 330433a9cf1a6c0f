#include "lowbit/kernels/code_rows.h"

#include <gtest/gtest.h>

#include <fmt/format.h>

#include <limits>

#include "kernels/code_support.h"
#include "lowbit/kernels/reference.h"

namespace lowbit::kernels::test {
namespace {

constexpr auto kInfinity = std::numeric_limits<double>::infinity();

struct Shape {
  int group;
  std::size_t k;
};
// Around vector widths and words of 64, with tails where a group allows them.
constexpr Shape kShapes[] = {{1, 1},    {1, 2},    {1, 7},     {1, 15},    {1, 16},    {1, 17},   {1, 31},   {1, 33},
                             {1, 63},   {1, 64},   {1, 65},    {1, 100},   {1, 127},   {1, 129},  {1, 576},  {2, 2},
                             {2, 18},   {2, 66},   {4, 4},     {4, 20},    {4, 100},   {8, 8},    {8, 24},   {8, 136},
                             {16, 16},  {16, 48},  {16, 80},   {32, 32},   {32, 96},   {32, 160}, {32, 608}, {64, 64},
                             {64, 192}, {64, 576}, {128, 128}, {128, 384}, {128, 1536}};

std::vector<float> rotated(std::vector<float> x, std::size_t begin, std::size_t k, int group) {
  std::vector<float> row(x.begin() + static_cast<std::ptrdiff_t>(begin),
                         x.begin() + static_cast<std::ptrdiff_t>(begin + k));
  reference::hadamard_row<float>(row, group);
  return row;
}

/// The grid's own edge, none, and one with a hole; what is pruned by a factor of its own.
std::vector<TrustRule> some_rules(const Grid& grid) {
  TrustRule edge = grid.trust_edge * grid.alpha, hole = edge;
  edge.pruned = 0.3;
  hole.hole_begin = 0.25;
  hole.hole_end = 0.75;
  hole.pruned = kInfinity;
  TrustRule all = kInfinity;
  all.pruned = kInfinity;
  if (grid.cells == Cells::e2m1) return {edge, hole, all};
  return {edge, all};
}

// Every output of code_rows against the definition, element by element.
void expect_coded(const RowCoding& coding, std::size_t rows, std::size_t k, const std::vector<float>& x,
                  std::size_t stride, OwnedRows& out, const std::string& what) {
  ASSERT_TRUE(out.intact()) << what << ": wrote outside of its rows";
  std::vector<std::uint8_t> codes(k);
  for (std::size_t row = 0; row < rows; ++row) {
    const auto x_h = rotated(x, row * stride, k, coding.group);
    const SideCoding side{coding.grid, coding.trust, coding.scale, coding.sparse_scale};
    const auto expected = reference::code_row<float>(x_h, side, codes.data());
    ASSERT_TRUE(same(out.scale[row], expected.scale)) << what << " row " << row << ": scale " << out.scale[row];
    std::int32_t sum = 0;
    for (std::size_t i = 0; i < code_stride(k); ++i) {
      const int u = i < k ? codes[i] : 0;
      sum += u;
      ASSERT_EQ(out.codes[row * code_stride(k) + i], u) << what << " row " << row << " at " << i;
    }
    ASSERT_EQ(out.sum[row], sum) << what << " row " << row;
    if (!out.with_mask) continue;
    for (std::size_t i = 0; i < 64 * mask_words(k); ++i) {
      const bool expected_bit =
          i < k && reference::trusted(x_h[i], expected, reference::is_pruned(*coding.grid, codes[i]));
      ASSERT_EQ(out.mask[row * mask_words(k) + i / 64] >> (i % 64) & 1, expected_bit)
          << what << " row " << row << " mask " << i;
    }
  }
}

TEST(CodeRows, EqualTheReferenceInEveryBitOnEveryInstructionSetGridShapeAndContent) {
  SerialExecutor serial;
  const Rng rng(11);
  const auto kinds = static_cast<std::size_t>(Content::last);
  for (const Isa isa : supported_isas()) {
    const ForcedIsa forced(isa);
    for (const auto& [group, k] : kShapes) {
      const std::size_t stride = k + 3;
      std::vector<float> x(kinds * stride);
      for (std::size_t row = 0; row < kinds; ++row)
        fill_row(static_cast<Content>(row), rng, 10000 * row + k, x.data() + row * stride, k);
      for (const Grid* grid : every_grid()) {
        if (grid->dense && k % 8 != 0) continue;
        for (const TrustRule& trust : some_rules(*grid)) {
          for (const ScaleRule scale : {ScaleRule::rms, ScaleRule::absmax, ScaleRule::mse}) {
            if (scale == ScaleRule::absmax && grid->cells == Cells::table) continue;  // there is none
            const RowCoding coding{grid, group, trust, scale, SparseScale{1 + grid->id % 2}};
            OwnedRows out(kinds, k, trust.edge < kInfinity || grid->id % 2 == 0);
            code_rows(serial, coding, kinds, k, x.data(), stride, out.view());
            expect_coded(
                coding, kinds, k, x, stride, out,
                fmt::format("{} grid {} K {} group {} {}", isa_name(isa), grid->name, k, group, name_of(scale)));
            if (HasFatalFailure()) return;
          }
        }
      }
    }
  }
}

// A row of two magnitudes, as trained 1-bit weights have: what mse loses least by is their mean.
TEST(CodeRows, TakeTheFactorOfTheRmsWithTheLeastErrorOfFifteen) {
  SerialExecutor serial;
  constexpr std::size_t kK = 64;
  std::vector<float> x(kK);
  for (std::size_t i = 0; i < kK; ++i) x[i] = (i % 2 == 0 ? 1.0f : -1.0f) * (i % 4 < 2 ? 0.9f : 1.1f);
  const double rms = std::sqrt((0.81 + 1.21) / 2);
  for (const char* name : {"1", "2"}) {
    const Grid& grid = *find_grid(name);
    double least = kInfinity, best = 0;
    for (int percent = 60; percent <= 130; percent += 5) {
      const double s = grid.alpha * rms * percent / 100;
      double error = 0;
      for (const double v : {0.9, 1.1}) {
        const double h = s / (grid.levels - 1);
        const double level = grid.levels == 2 ? h : v < 2 * h ? h : 3 * h;
        error += (v - level) * (v - level);
      }
      if (error < least) least = error, best = s / (grid.levels - 1);
    }
    RowCoding coding{&grid, 1, 1.0, ScaleRule::mse};
    OwnedRows out(1, kK);
    code_rows(serial, coding, 1, kK, x.data(), kK, out.view());
    EXPECT_NEAR(out.scale[0], best, 1e-6) << name;
    coding.scale = ScaleRule::rms;
    code_rows(serial, coding, 1, kK, x.data(), kK, out.view());
    EXPECT_GT(std::abs(out.scale[0] - best), 0.05) << name;
  }
}

TEST(CodeRows, CodeANaNAsTheLowestAndAnAllZeroRowAsZeroOnEveryInstructionSet) {
  SerialExecutor serial;
  for (const Isa isa : supported_isas()) {
    const ForcedIsa forced(isa);
    for (const Grid& grid : kGrids) {
      std::vector<float> x(2 * 70, 0.0f);
      x[0] = NAN;
      OwnedRows out(2, 70);
      code_rows(serial, {&grid, 1, 1.0}, 2, 70, x.data(), 70, out.view());
      for (std::size_t i = 0; i < 70; ++i) {
        EXPECT_EQ(out.codes[i], 0);
        EXPECT_EQ(out.codes[code_stride(70) + i] + grid.lowest(), 0);
      }
      EXPECT_TRUE(std::isnan(out.scale[0]));
      EXPECT_GT(out.scale[1], 0.0f);
      EXPECT_LT(out.scale[1], 3e-8f);
    }
  }
}

TEST(CodeRows, TrustEveryEntryWhenTheFactorIsInfiniteAlsoInARowOfZeros) {
  SerialExecutor serial;
  for (const Isa isa : supported_isas()) {
    const ForcedIsa forced(isa);
    std::vector<float> x(2 * 64, 0.0f);
    x[70] = 1e30f;
    OwnedRows out(2, 64);
    code_rows(serial, {find_grid("4"), 1, kInfinity}, 2, 64, x.data(), 64, out.view());
    EXPECT_EQ(out.mask[0], ~std::uint64_t{0}) << isa_name(isa);
    EXPECT_EQ(out.mask[1], ~std::uint64_t{0}) << isa_name(isa);
  }
}

// Long enough for several tasks.
TEST(CodeRows, AreTheSameForAnyNumberOfThreads) {
  constexpr std::size_t kRows = 101, kK = 576;
  const Rng rng(5);
  std::vector<float> x(kRows * kK);
  fill_row(Content::normal, rng, 0, x.data(), x.size());
  for (const Isa isa : supported_isas()) {
    const ForcedIsa forced(isa);
    for (const int threads : {1, 2, 3}) {
      ThreadPool pool(threads);
      const RowCoding coding{find_grid("3"), 64, 2.0};
      OwnedRows out(kRows, kK);
      code_rows(pool, coding, kRows, kK, x.data(), kK, out.view());
      expect_coded(coding, kRows, kK, x, kK, out, std::to_string(threads) + " threads");
    }
  }
}

TEST(RotateRows, EqualTheReferenceInEveryBitAndLeaveTheGapsBetweenRows) {
  SerialExecutor serial;
  const Rng rng(3);
  const auto kinds = static_cast<std::size_t>(Content::last);
  for (const Isa isa : supported_isas()) {
    const ForcedIsa forced(isa);
    for (const auto& [group, k] : kShapes) {
      const std::size_t x_stride = k + 1, y_stride = k + 5;
      std::vector<float> x(kinds * x_stride);
      for (std::size_t row = 0; row < kinds; ++row)
        fill_row(static_cast<Content>(row), rng, 5000 * row, x.data() + row * x_stride, k);
      for (const bool in_place : {false, true}) {
        Guarded<float> y(kinds * y_stride);
        if (in_place)
          for (std::size_t row = 0; row < kinds; ++row)
            std::copy_n(x.data() + row * x_stride, k, y.data() + row * y_stride);
        rotate_rows(serial, group, kinds, k, in_place ? y.data() : x.data(), in_place ? y_stride : x_stride, y.data(),
                    y_stride);
        ASSERT_TRUE(y.intact());
        for (std::size_t row = 0; row < kinds; ++row) {
          const auto expected = rotated(x, row * x_stride, k, group);
          for (std::size_t i = 0; i < k; ++i)
            ASSERT_TRUE(same(y[row * y_stride + i], expected[i]))
                << isa_name(isa) << " group " << group << " K " << k << " " << content_name(static_cast<Content>(row))
                << " at " << i << ": " << y[row * y_stride + i] << ", not " << expected[i];
          for (std::size_t i = k; i < y_stride; ++i) ASSERT_TRUE(y.untouched(row * y_stride + i));
        }
      }
    }
  }
}

TEST(MaskAndRotateRows, ZeroWhatIsNotTrustedAndRotateInPlace) {
  SerialExecutor serial;
  const Rng rng(4);
  constexpr std::size_t kRows = 4;
  for (const Isa isa : supported_isas()) {
    const ForcedIsa forced(isa);
    for (const auto& [group, k] : kShapes) {
      const std::size_t stride = k + 2;
      std::vector<std::uint64_t> mask(kRows * mask_words(k));
      for (std::size_t i = 0; i < mask.size(); ++i) mask[i] = rng.bits(i);
      for (const bool masked : {true, false}) {
        Guarded<float> g(kRows * stride);
        std::vector<float> expected(kRows * k);
        for (std::size_t row = 0; row < kRows; ++row) {
          fill_row(row == 0 ? Content::one_nan : Content::normal, rng, 3000 * row, g.data() + row * stride, k);
          for (std::size_t i = 0; i < k; ++i)
            expected[row * k + i] =
                !masked || (mask[row * mask_words(k) + i / 64] >> (i % 64) & 1) ? g[row * stride + i] : 0.0f;
          reference::hadamard_row(std::span(expected).subspan(row * k, k), group);
        }
        mask_and_rotate_rows(serial, group, kRows, k, masked ? mask.data() : nullptr, g.data(), stride);
        ASSERT_TRUE(g.intact());
        for (std::size_t row = 0; row < kRows; ++row) {
          for (std::size_t i = 0; i < k; ++i)
            ASSERT_TRUE(same(g[row * stride + i], expected[row * k + i]))
                << isa_name(isa) << " group " << group << " K " << k << " row " << row << " at " << i;
          for (std::size_t i = k; i < stride; ++i) ASSERT_TRUE(g.untouched(row * stride + i));
        }
      }
    }
  }
}

TEST(DecodeRows, GiveTheValueOfEachCodeRotatedBackInEveryBit) {
  SerialExecutor serial;
  const Rng rng(6);
  constexpr std::size_t kTable = 9;
  const std::vector<std::int32_t> ids{8, 0, 3, 3, 7};
  for (const Isa isa : supported_isas()) {
    const ForcedIsa forced(isa);
    for (const auto& [group, k] : kShapes) {
      for (const Grid* of_table : every_grid()) {
        const Grid& grid = *of_table;
        const std::size_t stride = k + 4;
        std::vector<std::uint8_t> codes(kTable * code_stride(k));
        std::vector<float> scale(kTable);
        for (std::size_t row = 0; row < kTable; ++row) {
          scale[row] = static_cast<float>(0.01 + rng.uniform(row));
          for (std::size_t i = 0; i < k; ++i)
            codes[row * code_stride(k) + i] =
                static_cast<std::uint8_t>(rng.below(1000 * row + i, static_cast<std::uint64_t>(grid.levels)));
        }
        Guarded<float> y(ids.size() * stride);
        decode_rows(serial, {&grid, group, 1.0}, ids.size(), ids.data(), k, codes.data(), scale.data(), y.data(),
                    stride);
        ASSERT_TRUE(y.intact());
        for (std::size_t row = 0; row < ids.size(); ++row) {
          const auto id = static_cast<std::size_t>(ids[row]);
          std::vector<float> expected(k);
          for (std::size_t i = 0; i < k; ++i)
            expected[i] = static_cast<float>(grid.value(codes[id * code_stride(k) + i])) * scale[id];
          reference::hadamard_row<float>(expected, group);
          for (std::size_t i = 0; i < k; ++i)
            ASSERT_TRUE(same(y[row * stride + i], expected[i])) << isa_name(isa) << " grid " << grid.name << " group "
                                                                << group << " K " << k << " row " << row << " at " << i;
          for (std::size_t i = k; i < stride; ++i) ASSERT_TRUE(y.untouched(row * stride + i));
        }
      }
    }
  }
}

// Coding with 8 bits and decoding returns each entry to within half a step, and rotation is its own inverse.
TEST(DecodeRows, UndoCodeRowsToWithinHalfAStepOfTheRotatedEntry) {
  SerialExecutor serial;
  constexpr std::size_t kK = 256;
  const Rng rng(9);
  std::vector<float> x(kK), y(kK);
  fill_row(Content::normal, rng, 0, x.data(), kK);
  const RowCoding coding{find_grid("8"), 128, 2.0};
  OwnedRows out(1, kK);
  code_rows(serial, coding, 1, kK, x.data(), kK, out.view());
  const std::int32_t id = 0;
  decode_rows(serial, coding, 1, &id, kK, out.codes.data(), out.scale.data(), y.data(), kK);
  double error = 0;
  for (std::size_t i = 0; i < kK; ++i) error += (x[i] - y[i]) * (x[i] - y[i]);
  // The rotation keeps lengths: the error of a row is at most sqrt(K) half steps, h each, where none was clipped.
  EXPECT_LT(std::sqrt(error), std::sqrt(static_cast<double>(kK)) * out.scale[0]);
  EXPECT_GT(error, 0);
}

}  // namespace
}  // namespace lowbit::kernels::test
