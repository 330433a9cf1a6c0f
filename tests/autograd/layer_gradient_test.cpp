#include <ATen/ops/empty.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "golden/reference_linear.h"
#include "lowbit/autograd/layers.h"
#include "lowbit/autograd/torch_executor.h"
#include "lowbit/base/rng.h"

// One linear layer of the training engine in every kind of format against the reference templates on whole matrices:
// the forward bit by bit, the gradients to the rounding of float32 sums.
namespace lowbit {
namespace {

constexpr std::size_t kRows = 40, kN = 33, kK = 64, kLongK = 256;

std::vector<float> normal(std::size_t n, std::uint64_t seed) {
  const Rng rng(seed);
  std::vector<float> x(n);
  for (std::size_t i = 0; i < n; ++i) x[i] = static_cast<float>(rng.normal(i));
  return x;
}

/// A layer with its parameter, and one pass over it.
struct Layer {
  autograd::TorchExecutor executor{2};
  nn::LinearWeights weights;
  autograd::Parameter parameter;
  std::size_t k;
  std::vector<float> x = normal(kRows * k, 1), w = normal(kN * k, 2), dy = normal(kRows * kN, 3);
  std::vector<float> y = std::vector<float>(kRows * kN), dx = std::vector<float>(kRows * k);

  explicit Layer(const model::TensorCoding& coding, std::size_t columns = kK,
                 kernels::Precision precision = kernels::Precision::f32)
      : k(columns) {
    const auto wide = static_cast<std::int64_t>(k);
    const auto options = at::TensorOptions().dtype(at::kFloat);
    parameter.spec = {"layer.weight", model::TensorRole::q, 0, kN, wide};
    parameter.value = at::empty({kN, wide}, options);
    parameter.grad = at::empty({kN, wide}, options);
    std::copy(w.begin(), w.end(), parameter.value.mutable_data_ptr<float>());
    std::fill_n(parameter.grad.mutable_data_ptr<float>(), w.size(), 0.0f);
    weights.set(executor, coding, kN, k, w.data(), {true, true});
    const autograd::Draws draws{1, 2, 3};
    autograd::LinearGroup group({.executor = &executor, .precision = precision, .draws = &draws}, {&weights},
                                {&parameter});
    group.prepare(x.data(), kRows, true);
    float* const out = y.data();
    group.multiply_into(std::span(&out, 1));
    const float* const gradient = dy.data();
    group.backward_into(std::span(&gradient, 1), dx.data());
  }
  std::vector<float> dw() const {
    const float* g = parameter.grad.const_data_ptr<float>();
    return {g, g + kN * k};
  }
};

double largest(const std::vector<float>& x) {
  double most = 0;
  for (const float v : x) most = std::max(most, std::abs(static_cast<double>(v)));
  return most;
}

void expect_near(const std::vector<float>& found, const std::vector<float>& wanted, const char* what) {
  ASSERT_EQ(found.size(), wanted.size());
  const double scale = largest(wanted);
  ASSERT_GT(scale, 0);
  for (std::size_t i = 0; i < found.size(); ++i) ASSERT_NEAR(found[i], wanted[i], 2e-6 * scale) << what << " " << i;
}

struct Keys {
  std::string format, estimator = "trust", transform = "hadamard", scale = "rms", grid = "uniform",
                      fp4_threshold = "paper", sparse_scale = "dense";
};

class LayerGradient : public testing::TestWithParam<Keys> {};

TEST_P(LayerGradient, AndOutputAreThoseOfTheDefinition) {
  const Keys& keys = GetParam();
  Scheme scheme = default_scheme(parse_format(keys.format));
  scheme.estimator = parse_estimator(keys.estimator);
  scheme.transform = parse_transform(keys.transform);
  scheme.scale = parse_scale_rule(keys.scale);
  scheme.grid = parse_grid_shape(keys.grid);
  scheme.fp4_threshold = parse_fp4_threshold(keys.fp4_threshold);
  scheme.sparse_scale = parse_sparse_scale(keys.sparse_scale);
  scheme.check();
  const model::TensorCoding coding = model::coding_of({"", model::TensorRole::q, 0, kN, kK}, scheme);
  const Layer layer(coding);
  const auto x = golden::make_operand<float>(layer.x, kK, coding.input, coding.input_group);
  const auto w = golden::make_operand<float>(layer.w, kK, coding.weight, coding.group);
  EXPECT_EQ(layer.y, golden::linear_forward(x, w));
  std::vector<float> dx, dw(kN * kK);
  golden::linear_backward<float>(x, w, layer.dy, dx, dw);
  expect_near(layer.dx, dx, "dx");
  expect_near(layer.dw(), dw, "dw");
  if (keys.estimator == "ste") return;
  const auto masked =
      std::count(x.trusted.begin(), x.trusted.end(), 0) + std::count(w.trusted.begin(), w.trusted.end(), 0);
  EXPECT_GT(masked, 0) << "masks that take nothing out test nothing";
}

std::string test_name(const testing::TestParamInfo<Keys>& info) {
  const Keys& k = info.param;
  std::string name = fmt::format("{}_{}_{}_{}_{}_{}_{}", k.format, k.estimator, k.transform, k.scale, k.grid,
                                 k.fp4_threshold, k.sparse_scale);
  for (char& c : name)
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  return name;
}

INSTANTIATE_TEST_SUITE_P(
    Formats, LayerGradient,
    testing::Values(Keys{"w4a4"}, Keys{"w1.58a2", "clip"}, Keys{"w4a16"}, Keys{"w2a16", "trust", "hadamard-weights"},
                    Keys{"fp4"}, Keys{"fp4", "clip", "none"},
                    Keys{"fp4", "trust", "hadamard", "rms", "uniform", "code"}, Keys{"wfp4a2"}, Keys{"wfp4a16"},
                    Keys{"w4a4+2:4"}, Keys{"w1a1+2:4"}, Keys{"w7a4+2:4", "clip", "none"},
                    Keys{"w2a16+2:4", "trust", "hadamard-weights"},
                    Keys{"w4a4+2:4", "trust", "hadamard", "rms", "uniform", "paper", "refit"}, Keys{"w2a2+2:4", "ste"},
                    Keys{"w4a4", "ste", "hadamard", "absmax"}, Keys{"w1.58a8", "ste", "none", "absmax"},
                    Keys{"fp4", "ste", "hadamard", "absmax"}, Keys{"w4a4", "trust", "hadamard", "rms", "gaussian"},
                    Keys{"w2a3", "clip", "none", "rms", "gaussian"},
                    Keys{"w1a16", "trust", "hadamard", "rms", "gaussian"},
                    Keys{"w3a4", "trust", "hadamard", "rms", "gaussian-converged"}, Keys{"w16a4"},
                    Keys{"w16afp4", "clip", "none"}, Keys{"w16a2", "trust", "hadamard", "rms", "gaussian"}),
    test_name);

struct GroupKeys {
  std::string format, transform = "hadamard", grid = "uniform";
  std::int64_t group = 128;
  std::string scale = "rms";
};

class ScaleGroupGradient : public testing::TestWithParam<GroupKeys> {};

TEST_P(ScaleGroupGradient, IsThatOfSlicesWithScalesOfTheirOwn) {
  const GroupKeys& keys = GetParam();
  Scheme scheme = default_scheme(parse_format(keys.format));
  scheme.transform = parse_transform(keys.transform);
  scheme.grid = parse_grid_shape(keys.grid);
  scheme.scale = parse_scale_rule(keys.scale);
  scheme.scale_group = keys.group;
  scheme.check();
  const model::TensorCoding coding = model::coding_of({"", model::TensorRole::q, 0, kN, kLongK}, scheme);
  const Layer layer(coding, kLongK);
  const auto x = golden::make_operand<float>(layer.x, kLongK, coding.input, coding.input_group);
  auto w = golden::make_operand<float>(layer.w, static_cast<std::size_t>(keys.group), coding.weight, coding.group);
  // Values and masks of the slices are those of the rows: the gradients have no other use for the scales.
  w.rows = kN, w.k = kLongK;
  std::vector<float> dx, dw(kN * kLongK);
  golden::linear_backward<float>(x, w, layer.dy, dx, dw);
  expect_near(layer.dx, dx, "dx");
  expect_near(layer.dw(), dw, "dw");
  EXPECT_GT(std::count(w.trusted.begin(), w.trusted.end(), 0), 0) << "masks that take nothing out test nothing";
  // bf16 rounds the scaled gradient, int8 draws: both near, and not the same.
  for (const kernels::Precision precision : {kernels::Precision::bf16, kernels::Precision::int8}) {
    const Layer rounded(coding, kLongK, precision);
    const auto distance = [](const std::vector<float>& a, const std::vector<float>& b) {
      double error = 0, square = 0;
      for (std::size_t i = 0; i < a.size(); ++i) {
        error += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
        square += std::pow(static_cast<double>(b[i]), 2);
      }
      return std::sqrt(error / square);
    };
    EXPECT_LT(distance(rounded.dx, dx), 0.02) << kernels::name_of(precision);
    EXPECT_LT(distance(rounded.dw(), dw), 0.02) << kernels::name_of(precision);
    EXPECT_GT(distance(rounded.dx, dx), 1e-5) << kernels::name_of(precision);
  }
}

std::string group_test_name(const testing::TestParamInfo<GroupKeys>& info) {
  const GroupKeys& k = info.param;
  std::string name = fmt::format("{}_{}_{}_{}_{}", k.format, k.transform, k.grid, k.group, k.scale);
  for (char& c : name)
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  return name;
}

INSTANTIATE_TEST_SUITE_P(Formats, ScaleGroupGradient,
                         testing::Values(GroupKeys{"w1a1"}, GroupKeys{"w2a2", "none", "uniform", 64},
                                         GroupKeys{"w2a2", "none", "uniform", 64, "mse"}, GroupKeys{"w1.58a8"},
                                         GroupKeys{"w3a16", "hadamard-weights"},
                                         GroupKeys{"fp4", "none", "uniform", 64}, GroupKeys{"w2a4+2:4"},
                                         GroupKeys{"w2a3", "none", "gaussian", 64}),
                         group_test_name);

// y = bf16(x) . bf16(w o mask); only what survives has a gradient.
TEST(MaskedLayerGradient, ReachesTheSurvivorsAloneAndPassesThroughThem) {
  Scheme scheme = default_scheme(parse_format("bf16+2:4"));
  const Layer layer(model::coding_of({"", model::TensorRole::q, 0, kN, kK}, scheme));
  const auto rounded = [](std::vector<float> v) {
    for (float& f : v) f = to_float(to_bf16(f));
    return v;
  };
  std::vector<float> w = layer.w, dx(kRows * kK), dw(kN * kK);
  std::vector<bool> survives(w.size());
  for (std::size_t i = 0; i < w.size(); ++i) {
    survives[i] = !(kernels::reference::pruned_pairs(layer.w.data() + i / 8 * 8) >> i % 8 / 2 & 1);
    if (!survives[i]) w[i] = 0;
  }
  EXPECT_EQ(std::count(survives.begin(), survives.end(), true), static_cast<std::ptrdiff_t>(w.size() / 2));
  kernels::reference::product_backward<float>(kRows, kN, kK, layer.dy, rounded(layer.x), rounded(w), dx, dw);
  for (std::size_t i = 0; i < w.size(); ++i)
    if (!survives[i]) dw[i] = 0;
  expect_near(layer.dx, dx, "dx");
  expect_near(layer.dw(), dw, "dw");
}

}  // namespace
}  // namespace lowbit
