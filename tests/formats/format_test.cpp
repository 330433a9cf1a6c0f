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
  const std::vector<double> masked{0.110540,  0.066356,   0.046439,   0.019074,   0.0073287,
                                   0.0026111, 0.00087282, 0.00028408, 0.000096124};
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

TEST(Format, ReadsTheWordsOfFp4AndPairsBackAsTheyAreWritten) {
  for (std::string_view word : {"fp4", "wfp4a8", "w4afp4", "wfp4a16", "w4a4+2:4", "w1a1+2:4", "w7a8+2:4", "w4a16+2:4",
                                "w2afp4+2:4", "bf16+2:4", "w16a4", "w16afp4", "w16a8"})
    EXPECT_EQ(parse_format(word).name(), word);
  EXPECT_EQ(parse_format("wfp4afp4").name(), "fp4");
  EXPECT_EQ(parse_format("w4a4+2:4").weight->dense, find_grid("4"));
  EXPECT_EQ(parse_format("w4a4+2:4").activation, find_grid("4"));
  for (std::string_view word : {"w8a8+2:4", "w1.58a4+2:4", "fp4+2:4", "wfp4a4+2:4", "f32+2:4", "w4+2:4a4", "fp8",
                                "+2:4", "w16a4+2:4", "w16a16", "w16a1.58"})
    EXPECT_THROW(parse_format(word), Error) << word;
}

TEST(Scheme, RefusesKeysThatHaveNothingToActOn) {
  const auto refused = [](std::string_view format, auto change) {
    Scheme scheme = default_scheme(parse_format(format));
    EXPECT_NO_THROW(scheme.check()) << format;
    change(scheme);
    EXPECT_THROW(scheme.check(), Error) << format << scheme.variations();
  };
  const auto absmax = [](Scheme& s) { s.scale = ScaleRule::absmax; };
  const auto gaussian = [](Scheme& s) { s.grid = GridShape::gaussian; };
  const auto code = [](Scheme& s) { s.fp4_threshold = Fp4Threshold::code; };
  const auto refit = [](Scheme& s) { s.sparse_scale = SparseScale::refit; };
  const auto mse = [](Scheme& s) { s.scale = ScaleRule::mse; };
  refused("w16a4", mse);
  refused("bf16", mse);
  refused("w4a4", [&](Scheme& s) { mse(s), s.estimator = Estimator::lsq; });
  const auto group = [](std::int64_t columns) { return [=](Scheme& s) { s.scale_group = columns; }; };
  for (const std::int64_t columns : {-64, 1, 3, 32, 48, 65, 192}) refused("w2a2", group(columns));
  refused("w16a4", group(64));
  refused("bf16", group(64));
  for (const Estimator learned : {Estimator::lsq, Estimator::pact, Estimator::lsq_plus, Estimator::adabin})
    refused("w1a1", [&](Scheme& s) { group(64)(s), s.estimator = learned; });
  refused("w4a4", absmax);  // with trust
  refused("f32", gaussian);
  refused("fp4", gaussian);
  refused("w4a8", gaussian);
  refused("w4a4+2:4", gaussian);
  refused("w4a4", code);
  refused("w4a4", refit);
  refused("w4a4", [&](Scheme& s) { gaussian(s), absmax(s), s.estimator = Estimator::ste; });
}

TEST(Scheme, SearchesTheScalesOfWeightsAlone) {
  Scheme scheme = default_scheme(parse_format("w2a2"));
  scheme.scale = ScaleRule::mse;
  EXPECT_NO_THROW(scheme.check());
  EXPECT_EQ(scheme.weight_side(*find_grid("2")).scale, ScaleRule::mse);
  EXPECT_EQ(scheme.input_side(*find_grid("2")).scale, ScaleRule::rms);
}

TEST(Scheme, DividesTheRowsOfTheBlocksWeightsAloneByItsScaleGroup) {
  Scheme scheme = default_scheme(parse_format("w2a2"));
  EXPECT_EQ(scheme.weight_side(*find_grid("2")).slices(256), 1);
  scheme.scale_group = 64;
  EXPECT_NO_THROW(scheme.check());
  EXPECT_EQ(scheme.weight_side(*find_grid("2")).slices(256), 4);
  EXPECT_EQ(scheme.input_side(*find_grid("2")).slices(256), 1);
  EXPECT_EQ(scheme.head_side(*find_grid("8")).slices(256), 1);
  EXPECT_EQ(scheme.variations(), ", scale group 64");
}

TEST(Scheme, TrustsAnEntryUpToHalfAnOutermostIntervalPastTheGrid) {
  Scheme scheme;
  EXPECT_DOUBLE_EQ(scheme.block_side(kE2m1Grid).trust.edge, 7 * 0.48707976);
  EXPECT_DOUBLE_EQ(scheme.block_side(kGaussianGrids[3]).trust.edge, 2.9699926376342773 + kE2m1TrustOfCode);
  EXPECT_DOUBLE_EQ(scheme.block_side(kPairsGrids[3]).trust.edge, find_grid("4")->alpha * 16 / 15);
  EXPECT_DOUBLE_EQ(scheme.block_side(kPairsGrids[3]).trust.pruned, 0.16759537190456156);
  scheme.fp4_threshold = Fp4Threshold::code;  // masked: 2.2669 < |x| / r < 2.6039, and beyond 3.2411
  const TrustRule code = scheme.block_side(kE2m1Grid).trust;
  EXPECT_NEAR(code.hole_begin, 2.2669, 5e-5);
  EXPECT_NEAR(code.hole_end, 2.6039, 5e-5);
  EXPECT_NEAR(code.edge, 3.2411, 5e-5);
  scheme.estimator = Estimator::clip;
  EXPECT_DOUBLE_EQ(scheme.block_side(kE2m1Grid).trust.edge, 2.92247856);
  EXPECT_EQ(scheme.block_side(kE2m1Grid).trust.hole_end, 0);
  EXPECT_DOUBLE_EQ(scheme.block_side(kGaussianGrids[1]).trust.edge, 1.510452151298523);
}

TEST(Format, RefusesUnknownWordsWithTheListOfKnownOnes) {
  for (std::string_view word :
       {"", "w", "w9a4", "w4a9", "w4a", "wa", "w4a1.58", "w0a4", "W4A4", "w4a4 ", "int4", "w16a16"}) {
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

TEST(CanonicalLayout, StoresFp4AsItsFourBits) {
  // o = -12, -8, -6, -4, -3, -2, -1, 0, 1, 2, 3, 4, 6, 8, 12, 0: sign, then the magnitude's place.
  const std::vector<std::uint8_t> codes{0, 4, 6, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 20, 24, 12};
  std::vector<std::uint8_t> out(canonical_row_bytes(kE2m1Grid, codes.size())), back(codes.size());
  pack_stored(kE2m1Grid, codes, out);
  EXPECT_EQ(out, (std::vector<std::uint8_t>{0xef, 0xcd, 0xab, 0x09, 0x21, 0x43, 0x65, 0x07}));
  unpack_stored(kE2m1Grid, out, back);
  EXPECT_EQ(back, codes);
  out[7] = 0x87;  // a negative zero
  EXPECT_THROW(unpack_stored(kE2m1Grid, out, back), Error);
}

TEST(PairsLayout, HasTheseGoldenBytes) {
  // The example O8 of the oracles: pairs 1 and 3 of both groups survive, nibble 13.
  const Grid& grid = *find_pairs_grid(*find_grid("4"));
  EXPECT_EQ(layout_of(grid), LayoutId::pairs);
  // Dense codes k: 5 0 -5 2 | -8 0 2 2; u_dense = k + 8, u = 2 u_dense, and 15 is the code of 0.
  const std::vector<std::uint8_t> codes{15, 15, 26, 16, 15, 15, 6, 20, 15, 15, 0, 16, 15, 15, 20, 20};
  std::vector<std::uint8_t> out(stored_row_bytes(grid, codes.size())), back(codes.size());
  ASSERT_EQ(out.size(), 5u);  // 2.5 bits a weight
  pack_stored(grid, codes, out);
  EXPECT_EQ(out, (std::vector<std::uint8_t>{0x8d, 0xa3, 0x80, 0xaa, 0xdd}));
  unpack_stored(grid, out, back);
  EXPECT_EQ(back, codes);
  for (const std::uint8_t damaged : {0xd5, 0xd1, 0x0d}) {  // pairs 1 and 1; 1 and 0; 0 and 0
    out[4] = damaged;
    EXPECT_THROW(unpack_stored(grid, out, back), Error) << int{damaged};
  }
}

TEST(PairsLayout, PacksAndUnpacksEveryGridAndLength) {
  const Rng rng(8);
  for (const Grid& grid : kPairsGrids)
    for (std::size_t k = 8; k < 140; k += 8) {
      std::vector<std::uint8_t> codes(k, static_cast<std::uint8_t>(-grid.lowest()));
      for (std::size_t g = 0; g < k; g += 8) {
        const std::size_t a = rng.below(k * 1000 + g, 4), b = (a + 1 + rng.below(k * 1000 + g + 1, 3)) % 4;
        for (const std::size_t i : {2 * a, 2 * a + 1, 2 * b, 2 * b + 1})
          codes[g + i] = static_cast<std::uint8_t>(
              2 * rng.below(k * 1000 + g + i + 2, static_cast<std::uint64_t>(grid.dense->levels)));
      }
      std::vector<std::uint8_t> packed(stored_row_bytes(grid, k)), back(k);
      EXPECT_EQ(packed.size(), (k / 2 * static_cast<std::size_t>(grid.storage_bits) + 7) / 8 + (k / 8 + 1) / 2);
      pack_stored(grid, codes, packed);
      unpack_stored(grid, packed, back);
      EXPECT_EQ(codes, back) << grid.name << " " << k;
    }
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
