#include <gtest/gtest.h>

#include <array>
#include <cmath>

#include "golden/quantizer_fixtures.h"
#include "support/data.h"

// The rest of golden/quantizers: classes with parameters, classes with a memory, and the code's own arithmetic instead
// of the exact one. Left out: all_positive=True and raise_zero=False, whose grids are not lowbit's
// (docs/explain/methods.md).
namespace lowbit::golden {
namespace {

struct Learned {
  std::string name;
  int bits;
  bool pact, plus, offset;
};

/// y, mask, first step and gradients of one class, in T.
template <class T>
void expect_learned(const Learned& l) {
  SCOPED_TRACE(l.name);
  const SafetensorsFile inputs = fixture("inputs"), file = fixture("learned_f32");
  const auto x = tensor<T>(inputs, "x"), g = tensor<T>(inputs, "g");
  const auto of = [&](const char* what) { return tensor<double>(file, l.name + "/" + what)[0]; };
  const Grid& grid = *find_grid(std::to_string(l.bits));

  double magnitudes = 0, squares = 0, least = 0;
  for (const T v : x) {
    magnitudes += std::abs(static_cast<double>(v));
    squares += static_cast<double>(v) * static_cast<double>(v);
    least = std::min(least, static_cast<double>(v));
  }
  const auto entries = static_cast<double>(x.size());
  const double step = l.plus ? 2 * (grid.alpha * std::sqrt(squares / entries) + 1e-8) / (grid.levels - 1)
                             : 2 * magnitudes / entries / std::sqrt(grid.highest());
  EXPECT_NEAR(step, of("p_alpha_weight"), 1e-6 * step);
  if (l.offset) {
    EXPECT_NEAR(least + step * grid.levels / 2, of("p_beta_weight"), 1e-6 * std::abs(least));
  }

  Scheme scheme = default_scheme({Format::Kind::quantized, &grid, &grid});
  scheme.estimator = l.pact ? Estimator::pact_code : l.plus ? Estimator::lsq_plus_code : Estimator::lsq;
  scheme.transform = Transform::none;
  SideCoding side = l.offset ? scheme.input_side(grid) : scheme.block_side(grid);
  side.step = of("p_alpha_weight");
  if (l.offset) side.offset = of("p_beta_weight");
  const Operand<T> mine = make_operand<T>(x, kColumns, side, 1);
  const auto y = tensor<double>(file, l.name + "/y");
  const auto packed = file.at(l.name + "/mask_packed").values<std::uint8_t>();
  const double largest = side.step * grid.levels + std::abs(side.offset);
  for (std::size_t i = 0; i < y.size(); ++i) {
    EXPECT_NEAR(static_cast<double>(mine.values[i]), y[i], 3e-7 * largest) << i;
    EXPECT_EQ(mine.trusted[i], packed[i / 8] >> (7 - i % 8) & 1) << i;
  }
  mine.add_step_gradient(g, l.pact);
  const double scale = l.pact ? 1 : 1 / std::sqrt(entries * grid.highest());
  // Sums of 2048 terms in float32, of either sign.
  const double tolerance = scale * 2e-4 * grid.levels;
  EXPECT_NEAR(scale * static_cast<double>(mine.step_gradient), of("d_alpha_weight"),
              tolerance + 1e-5 * std::abs(of("d_alpha_weight")));
  if (l.offset) {
    EXPECT_NEAR(scale * static_cast<double>(mine.offset_gradient), of("d_beta_weight"), scale * 2e-4);
  }
}

TEST(GoldenQuantizers, LearnedStepsAndOffsetsWithTheirFirstValuesAndGradients) {
  LOWBIT_NEEDS_DATA();
  for (const int bits : {2, 3, 4, 8}) {
    const std::string end = "Quantizer(bits=" + std::to_string(bits) + ")";
    for (const Learned& l :
         {Learned{"LSQ" + end, bits, false, false, false}, Learned{"LSQPlusWeight" + end, bits, false, true, false},
          Learned{"LSQPlusActivation" + end, bits, false, true, true},
          Learned{"PACT" + end, bits, true, false, false}}) {
      expect_learned<double>(l);
      expect_learned<float>(l);
    }
  }
}

TEST(GoldenQuantizers, AWholeLayerWithLearnedSteps) {
  LOWBIT_NEEDS_DATA();
  const SafetensorsFile file = fixture("linear");
  const std::string at = "exact/LSQQuantizer(bits=4)/";
  const auto x = tensor<double>(file, "in/x"), w = tensor<double>(file, "in/w"), dy = tensor<double>(file, "in/dy");
  Scheme scheme = default_scheme(parse_format("w4a4"));
  scheme.estimator = Estimator::lsq;
  scheme.transform = Transform::none;
  const auto side = [&](const char* step) {
    SideCoding s = scheme.block_side(*find_grid("4"));
    s.step = tensor<double>(file, at + step)[0];
    return s;
  };
  const auto qx = make_operand<double>(x, kColumns, side("p_activation_quantizer.alpha_weight"), 1);
  const auto qw = make_operand<double>(w, kColumns, side("p_weight_quantizer.alpha_weight"), 1);
  const auto y = linear_forward(qx, qw);
  std::vector<double> dx, dw(w.size());
  linear_backward<double>(qx, qw, dy, dx, dw);
  const auto expect = [&](const char* what, const std::vector<double>& mine, std::size_t columns) {
    const auto wanted = tensor<double>(file, at + what);
    ASSERT_EQ(mine.size(), wanted.size());
    // The stored step is rounded to float32, which every value follows.
    for (std::size_t i = 0; i < mine.size(); ++i)
      EXPECT_NEAR(mine[i], wanted[i], summed_tolerance<float>(wanted, i, columns)) << what << " " << i;
  };
  expect("y", y, 16);
  expect("dx", dx, kColumns);
  expect("dw", dw, kColumns);
  const auto gradient = [&](const Operand<double>& side_of) {
    return side_of.step_gradient / std::sqrt(static_cast<double>(side_of.rows * side_of.k) * 7);
  };
  const double of_x = tensor<double>(file, at + "d_activation_quantizer.alpha_weight")[0];
  const double of_w = tensor<double>(file, at + "d_weight_quantizer.alpha_weight")[0];
  EXPECT_NEAR(gradient(qx), of_x, 1e-5 * std::abs(of_x));
  EXPECT_NEAR(gradient(qw), of_w, 1e-5 * std::abs(of_w));
}

// Two classes that are not offered: what they put out is `clip`, and so is their gradient, but for what they give back.
TEST(GoldenQuantizers, ClassesWithAMemoryAreClipApartFromWhatTheyGiveBackLater) {
  LOWBIT_NEEDS_DATA();
  const SafetensorsFile inputs = fixture("inputs"), file = fixture("stateful_f32");
  const auto x = tensor<float>(inputs, "x"), g = tensor<float>(inputs, "g");
  const Quantizer clip = quantizer("ClipQuantizer(bits=4)");
  const auto mine = make_operand<float>(x, kColumns, clip.side, 1);
  for (const bool accumulates : {true, false})
    for (int call = 0; call < 3; ++call) {
      const std::string name = (accumulates ? "ClipAccQuantizer(bits=4,flush_every=2)#" : "ErfClipQuantizer(bits=4)#") +
                               std::to_string(call);
      const auto y = tensor<float>(file, name + "/y"), dx = tensor<float>(file, name + "/dx");
      const float back = accumulates && call == 1 ? 0.5f : 0.0f;  // every second call half of what was kept
      for (std::size_t i = 0; i < x.size(); ++i) {
        EXPECT_NEAR(mine.values[i], y[i], tolerance(static_cast<double>(y[i]))) << name << " " << i;
        EXPECT_EQ(dx[i], mine.trusted[i] ? g[i] : back * g[i]) << name << " " << i;
      }
    }
}

/// What the code makes of a class with its own Hadamard matrix, whose entries are those of lowbit times this.
const double kFactor = 0.08837890625 * std::sqrt(128.0);

// Scales follow the row, so a matrix that is a little short changes results by its length alone: once where they stay
// rotated, twice where they are rotated back.
TEST(GoldenQuantizers, TheCodesRoundedHadamardMatrixIsTheExactOneTimesAFactor) {
  LOWBIT_NEEDS_DATA();
  const SafetensorsFile exact = fixture("hadamard_exact"), asis = fixture("hadamard_asis_f32");
  std::size_t compared = 0;
  for (const auto& view : asis.tensors()) {
    const auto of_code = view.floats(), wanted = exact.at(view.name).floats();
    const double factor = view.name.starts_with("Half") ? kFactor : kFactor * kFactor;
    double largest = 0;
    for (const float v : wanted) largest = std::max(largest, std::abs(static_cast<double>(v)));
    for (std::size_t i = 0; i < wanted.size(); ++i)
      EXPECT_NEAR(of_code[i], factor * static_cast<double>(wanted[i]), 2e-6 * largest) << view.name << " " << i;
    ++compared;
  }
  EXPECT_EQ(compared, 18u);
  EXPECT_NEAR(kFactor * kFactor, 0.999786376953125, 1e-15) << "oracle O13";
}

// bfloat16 roundings of x and H move entries across edges: a few percent of a result's length, which is told here, not
// asked for.
TEST(GoldenQuantizers, TheCodesBfloat16ArithmeticLiesWithinSevenPercentOfTheExactOne) {
  LOWBIT_NEEDS_DATA();
  const auto distance = [](const std::vector<float>& a, const std::vector<float>& b) {
    double error = 0, size = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
      error += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
      size += std::pow(static_cast<double>(b[i]), 2);
    }
    return std::sqrt(error / size);
  };
  const SafetensorsFile exact = fixture("hadamard_exact"), rounded = fixture("hadamard_autocast_bf16"),
                        linear = fixture("linear");
  for (const auto& view : rounded.tensors())
    EXPECT_LE(distance(view.floats(), exact.at(view.name).floats()), 0.07) << view.name;
  std::size_t layers = 0;
  for (const auto& view : linear.tensors()) {
    if (!view.name.starts_with("autocast/")) continue;
    const std::string name = view.name.substr(9);
    EXPECT_LE(distance(view.floats(), linear.at("exact/" + name).floats()), name.starts_with("No") ? 0.003 : 0.07)
        << view.name;
    ++layers;
  }
  EXPECT_EQ(layers, 21u);
}

TEST(GoldenQuantizers, TablesHaveTheLevelsOfTheCode) {
  LOWBIT_NEEDS_DATA();
  const SafetensorsFile tables = fixture("tables");
  for (const Grid& grid : kGaussianGrids) {
    const auto levels = tables.at("gaussian_levels_b" + std::string(grid.name)).floats();
    ASSERT_EQ(levels.size(), static_cast<std::size_t>(grid.levels));
    for (int u = 0; u < grid.levels; ++u)
      EXPECT_EQ(static_cast<float>(grid.level[u]), levels[static_cast<std::size_t>(u)]) << grid.name;
    const double trust = tables.at("gaussian_trust_b" + std::string(grid.name)).values<double>()[0];
    EXPECT_NEAR(grid.trust_edge - grid.extent, trust, 1e-7) << grid.name;
  }
  const auto fp4 = tables.at("fp4_levels").values<double>();
  ASSERT_EQ(fp4.size(), 16u);  // zero twice
  for (const double level : fp4) {
    const double o = 2 * level / kE2m1Grid.alpha;
    EXPECT_NEAR(o, std::round(o), 1e-6) << level;
    EXPECT_NE(std::find(kE2m1Magnitudes.begin(), kE2m1Magnitudes.end(), static_cast<int>(std::abs(std::round(o)))),
              kE2m1Magnitudes.end())
        << o;
  }
  EXPECT_NEAR(kE2m1TrustOfCode, tables.at("fp4_trust_in_code").values<double>()[0], 1e-15);
}

}  // namespace
}  // namespace lowbit::golden
