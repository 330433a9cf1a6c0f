#include "lowbit/formats/format.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>
#include <set>
#include <vector>

#include "lowbit/base/error.h"
#include "lowbit/base/rng.h"
#include "lowbit/formats/bf16.h"
#include "lowbit/formats/layout.h"

namespace lowbit {

void PrintTo(const Grid& grid, std::ostream* out) { *out << "grid " << grid.name; }

namespace {

double normal_density(double x) { return std::exp(-x * x / 2) / std::sqrt(2 * std::numbers::pi); }

/// Mean squared error of the grid on N(0,1), by the closed form of each cell's moments.
double gaussian_mse(const Grid& g) {
  const double h = g.zero_is_level ? g.alpha : g.alpha / (g.levels - 1);
  double mse = 0;
  for (int u = 0; u < g.levels; ++u) {
    const double v = g.value_of_code(u) * h;
    const double half = g.zero_is_level ? h / 2 : h;
    const double lo = u == 0 ? -40 : v - half, hi = u + 1 == g.levels ? 40 : v + half;
    const double p = (std::erf(hi / std::numbers::sqrt2) - std::erf(lo / std::numbers::sqrt2)) / 2;
    const double m1 = normal_density(lo) - normal_density(hi);
    const double m2 = p + lo * normal_density(lo) - hi * normal_density(hi);
    mse += m2 - 2 * v * m1 + v * v * p;
  }
  return mse;
}

TEST(Grids, HaveTheGaussianErrorsAndMaskedSharesOfThePublishedTable) {
  const std::vector<double> mse{0.3633802276, 0.1901740393, 0.1188460504, 0.0374396594, 0.0115428845,
                                0.0034952114, 0.0010400476, 0.0003043660, 0.0000878216};
  const std::vector<double> masked{0.110540, 0.066356, 0.046439, 0.019074, 0.0073287, 0.0026111, 0.00087282, 0.00028408, 0.000096124};
  for (std::size_t i = 0; i < kGrids.size(); ++i) {
    EXPECT_NEAR(gaussian_mse(kGrids[i]), mse[i], 2e-10) << kGrids[i].name;
    const double edge = kGrids[i].trust_edge * kGrids[i].alpha;
    EXPECT_NEAR(std::erfc(edge / std::numbers::sqrt2) / masked[i], 1, 1e-4) << kGrids[i].name;
  }
}

TEST(Grids, MaskTheStatedShareUnderTheOneBitOuterRule) {
  Scheme scheme = default_scheme(parse_format("w1a1"));
  EXPECT_NEAR(std::erfc(scheme.trust_factor(kGrids[0]) / std::numbers::sqrt2), 0.29961940, 1e-7);
  scheme.transform = Transform::none;
  EXPECT_NEAR(std::erfc(scheme.trust_factor(kGrids[0]) / std::numbers::sqrt2), 0.31859190, 1e-7);
}

TEST(Grids, HaveIdsAndNamesOfTheirOwn) {
  std::set<std::uint32_t> ids;
  std::set<std::string_view> names;
  for (const Grid& grid : kGrids) {
    ids.insert(grid.id);
    names.insert(grid.name);
    EXPECT_EQ(grid.value_of_code(0), -grid.largest());
    EXPECT_EQ(grid.value_of_code(grid.levels - 1), grid.largest());
  }
  EXPECT_EQ(ids.size(), kGrids.size());
  EXPECT_EQ(names.size(), kGrids.size());
}

TEST(Format, ReadsEveryWordBackAsItIsWritten) {
  for (const Grid& w : kGrids)
    for (std::string_view a : {"1", "2", "3", "4", "5", "6", "7", "8", "16"}) {
      const std::string word = fmt::format("w{}a{}", w.name, a);
      EXPECT_EQ(parse_format(word).name(), word);
    }
  EXPECT_EQ(parse_format("f32").name(), "f32");
  EXPECT_EQ(parse_format("bf16").name(), "bf16");
}

TEST(Format, RefusesUnknownWordsWithTheListOfKnownOnes) {
  for (std::string_view word : {"", "w", "w9a4", "w4a9", "w4a", "wa", "w4a1.58", "w0a4", "W4A4", "w4a4 ", "int4", "w16a16"}) {
    try {
      parse_format(word);
      ADD_FAILURE() << word;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::usage);
      EXPECT_NE(std::string(error.what()).find("wXaY"), std::string::npos);
    }
  }
  EXPECT_THROW(parse_head("w2a2"), Error);
}

TEST(HadamardGroup, IsTheLargestPowerOfTwoUpTo128AndNamesTheNearestWidthElse) {
  EXPECT_EQ(hadamard_group(640), 128);
  EXPECT_EQ(hadamard_group(576), 64);
  EXPECT_EQ(hadamard_group(96), 32);
  try {
    hadamard_group(172);
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("160"), std::string::npos) << error.what();
  }
  EXPECT_THROW(hadamard_group(0), Error);
}

TEST(LongestRow, KeepsTheLargestSumInsideAnInt32) {
  for (const Grid& a : kGrids)
    for (const Grid& b : kGrids) {
      const std::int64_t k = longest_row(a, b), product = std::int64_t{a.largest()} * b.largest();
      EXPECT_LE(k * product, 2147483647);
      EXPECT_GT((k + 1) * product, 2147483647);
    }
  EXPECT_EQ(longest_row(*find_grid("8"), *find_grid("8")), 33025);
}

class EveryGrid : public testing::TestWithParam<Grid> {};
INSTANTIATE_TEST_SUITE_P(Grids, EveryGrid, testing::ValuesIn(kGrids), [](const auto& grid) {
  std::string name(grid.param.name);
  for (char& c : name)
    if (c == '.') c = '_';
  return name;
});

TEST_P(EveryGrid, PacksAndUnpacksEveryLength) {
  const Grid& grid = GetParam();
  const Rng rng(3);
  for (std::size_t k = 1; k < 70; ++k) {
    std::vector<std::uint8_t> codes(k), packed(canonical_row_bytes(grid, k)), back(k);
    for (std::size_t i = 0; i < k; ++i)
      codes[i] = static_cast<std::uint8_t>(rng.below(i + 100 * k, static_cast<std::uint64_t>(grid.levels)));
    pack_canonical(grid, codes, packed);
    unpack_canonical(grid, packed, back);
    EXPECT_EQ(codes, back) << k;
  }
}

TEST(CanonicalLayout, HasTheseGoldenBytes) {
  const auto pack = [](std::string_view name, std::vector<std::uint8_t> codes) {
    const Grid& grid = *find_grid(name);
    std::vector<std::uint8_t> out(canonical_row_bytes(grid, codes.size()));
    pack_canonical(grid, codes, out);
    return out;
  };
  using Bytes = std::vector<std::uint8_t>;
  EXPECT_EQ(pack("1", {1, 0, 1, 1, 0, 0, 0, 1, 1}), (Bytes{0x8d, 0x01}));
  EXPECT_EQ(pack("1.58", {0, 1, 2, 1, 2}), (Bytes{0x64, 0x02}));
  EXPECT_EQ(pack("2", {3, 0, 1, 2}), (Bytes{0x93}));
  EXPECT_EQ(pack("3", {7, 0, 5, 1, 2, 3, 4, 6}), (Bytes{0x47, 0xa3, 0xd1}));
  EXPECT_EQ(pack("4", {1, 15, 8}), (Bytes{0xf1, 0x08}));
  EXPECT_EQ(pack("5", {31, 1, 16}), (Bytes{0x3f, 0x40}));
  EXPECT_EQ(pack("6", {63, 1, 32, 5}), (Bytes{0x7f, 0x00, 0x16}));
  EXPECT_EQ(pack("7", {127, 1}), (Bytes{0xff, 0x00}));
  EXPECT_EQ(pack("8", {255, 7}), (Bytes{0xff, 0x07}));
}

TEST(CanonicalLayout, RefusesTheCodeThatATernaryRowCannotHold) {
  const std::vector<std::uint8_t> packed{0x03};
  std::vector<std::uint8_t> codes(4);
  EXPECT_THROW(unpack_canonical(*find_grid("1.58"), packed, codes), Error);
}

TEST(Bf16, RoundsToNearestEvenAndFlushesDenormals) {
  EXPECT_EQ(to_bf16(1.0f).bits, 0x3f80);
  EXPECT_EQ(to_bf16(std::bit_cast<float>(0x3f808000u)).bits, 0x3f80);
  EXPECT_EQ(to_bf16(std::bit_cast<float>(0x3f818000u)).bits, 0x3f82);
  EXPECT_EQ(to_bf16(std::bit_cast<float>(0x80000001u)).bits, 0x8000);
  EXPECT_EQ(to_bf16(std::bit_cast<float>(0x7f7fffffu)).bits, 0x7f80);
  EXPECT_TRUE(std::isnan(to_float(to_bf16(NAN))));
  // O13: the entry of the reference code's bfloat16 Hadamard matrix.
  EXPECT_EQ(to_float(to_bf16(0.08838834764831845f)), 0.08837890625f);
  EXPECT_EQ(128.0 * 0.08837890625 * 0.08837890625, 0.999786376953125);
}

}  // namespace
}  // namespace lowbit
