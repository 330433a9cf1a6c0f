#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "lowbit/autograd/layers.h"
#include "lowbit/autograd/torch_executor.h"
#include "lowbit/base/rng.h"
#include "lowbit/kernels/reference.h"

// A layer with learned steps, against finite differences in double. A rounding has no derivative, so what is
// differentiated is what the straight-through rule stands for: q(x) = D (clamp(u) + c) + offset with u = (x - offset) /
// D and c, the distance from clamp(u) to its level, held fast; PACT: q(x) = x + c inside, D times the edge outside.
namespace lowbit {
namespace {

constexpr std::size_t kRows = 11, kN = 23, kK = 96;

struct Case {
  std::string format, estimator, transform = "none";
};

/// One side of the product in double: rows x H, and where the straight-through rule is held fast.
struct Side {
  std::vector<double> rows, residual;
  bool pact = false;
  double edge = 0;
  const Grid* grid = nullptr;

  Side(const std::vector<float>& values, const Grid* on, int group, bool is_pact, double step, double offset)
      : rows(values.begin(), values.end()), pact(is_pact), grid(on) {
    for (std::size_t r = 0; r < rows.size() / kK; ++r)
      kernels::reference::hadamard_row(std::span(rows.data() + r * kK, kK), group);
    residual.assign(rows.size(), 0);
    if (!grid) return;
    edge = grid->zero_is_level ? grid->levels / 2 : (grid->levels - 1) / 2.0;
    const double unit = grid->zero_is_level ? 0 : 0.5;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const double u = (rows[i] - offset) / step;
      const double level = std::clamp(std::floor(grid->zero_is_level ? u + 0.5 : u) + unit, -edge, edge);
      residual[i] = level - std::clamp(u, -edge, edge);
      if (pact) residual[i] *= step;
    }
  }
  double value(std::size_t i, double step, double offset) const {
    if (!grid) return rows[i];
    const double u = (rows[i] - offset) / step;
    if (pact) return std::abs(u) <= edge ? rows[i] + residual[i] : step * (u > 0 ? edge : -edge);
    return step * (std::clamp(u, -edge, edge) + residual[i]) + offset;
  }
};

struct Steps {
  double weight, input, offset;
};

double objective(const Side& x, const Side& w, const Steps& s, const std::vector<float>& dy) {
  std::vector<double> wq(kN * kK);
  for (std::size_t i = 0; i < wq.size(); ++i) wq[i] = w.value(i, s.weight, 0);
  double sum = 0;
  for (std::size_t r = 0; r < kRows; ++r)
    for (std::size_t i = 0; i < kK; ++i) {
      double along = 0;
      for (std::size_t n = 0; n < kN; ++n) along += static_cast<double>(dy[r * kN + n]) * wq[n * kK + i];
      sum += along * x.value(r * kK + i, s.input, s.offset);
    }
  return sum;
}

autograd::Parameter one(const char* name, float value) {
  const auto options = at::TensorOptions().dtype(at::kFloat);
  return {{name, model::TensorRole::norm, 0, 1, 1}, at::full({1}, value, options), at::zeros({1}, options), 0};
}
double first(const at::Tensor& t) { return static_cast<double>(*t.const_data_ptr<float>()); }

class StepGradient : public testing::TestWithParam<Case> {};

TEST_P(StepGradient, OfStepsAndOffsetsIsTheFiniteDifferenceOfWhatTheStraightThroughRuleStandsForTimesTheMethodsScale) {
  Scheme scheme = default_scheme(parse_format(GetParam().format));
  scheme.estimator = parse_estimator(GetParam().estimator);
  scheme.transform = parse_transform(GetParam().transform);
  scheme.check();
  model::TensorCoding coding = model::coding_of({"", model::TensorRole::q, 0, kN, kK}, scheme);
  const Rng rng(29);
  std::vector<float> x(kRows * kK), w(kN * kK), dy(kRows * kN), dx(x.size());
  std::uint64_t draw = 0;
  for (float& v : x) v = static_cast<float>(rng.normal(draw++) + 0.4);  // not centered, so that an offset matters
  for (float& v : w) v = static_cast<float>(0.1 * rng.normal(draw++));
  for (float& v : dy) v = static_cast<float>(rng.normal(draw++));
  const bool plus = learns_offset(scheme.estimator), pact = scheme.estimator == Estimator::pact,
             coded_input = scheme.format.activation;
  // Clamps about a tenth of either side.
  const auto edge_of = [](const Grid* grid) {
    return !grid ? 1 : grid->zero_is_level ? grid->levels / 2 : (grid->levels - 1) / 2.0;
  };
  const auto weight_at = static_cast<float>(0.16 / edge_of(scheme.format.weight)),
             input_at = static_cast<float>(1.6 / edge_of(scheme.format.activation));

  autograd::TorchExecutor executor(2);
  coding.weight.step = static_cast<double>(weight_at);
  const auto options = at::TensorOptions().dtype(at::kFloat);
  autograd::Parameter weight;
  weight.spec = {"w", model::TensorRole::q, 0, kN, kK};
  weight.value = at::zeros({kN, kK}, options);
  weight.grad = at::zeros({kN, kK}, options);
  std::memcpy(weight.value.mutable_data_ptr<float>(), w.data(), 4 * w.size());
  autograd::Parameter weight_step = one("w.step", weight_at), input_step = one("w.input_step", input_at),
                      offset = one("w.input_offset", 0.3f);
  nn::LinearWeights weights;
  weights.set(executor, coding, kN, kK, w.data(), {true, true});
  const autograd::Draws draws;
  autograd::Context context{&executor, kernels::Precision::f32, nullptr, false, &draws};
  context.estimator = scheme.estimator;
  autograd::LinearGroup group(context, {&weights}, {&weight});
  group.set_steps({&weight_step}, coded_input ? &input_step : nullptr, plus ? &offset : nullptr);
  group.prepare(x.data(), kRows, true);
  std::vector<float> y(kRows * kN);
  float* const out = y.data();
  group.multiply_into(std::span(&out, 1));
  const float* const gradient = dy.data();
  group.backward_into(std::span(&gradient, 1), dx.data());

  const Side xs(x, scheme.format.activation, coding.input_group, pact, first(input_step.value),
                first(offset.value) * (plus ? 1 : 0));
  const Side ws(w, scheme.format.weight, coding.group, pact, first(weight_step.value), 0);
  const Steps at{first(weight_step.value), first(input_step.value), plus ? first(offset.value) : 0};
  double sum = 0, wanted = objective(xs, ws, at, dy);
  for (std::size_t i = 0; i < y.size(); ++i) sum += static_cast<double>(y[i]) * static_cast<double>(dy[i]);
  EXPECT_NEAR(sum, wanted, 1e-4 * std::abs(wanted) + 1e-4) << "the forward pass";
  const auto difference = [&](double Steps::*which) {
    constexpr double kStep = 1e-6;
    Steps up = at, down = at;
    up.*which += kStep;
    down.*which -= kStep;
    return (objective(xs, ws, up, dy) - objective(xs, ws, down, dy)) / (2 * kStep);
  };
  const auto scale = [&](const Grid& grid, std::size_t entries) {
    return pact ? 1.0 : 1 / std::sqrt(static_cast<double>(entries) * std::max(1, grid.highest()));
  };
  const auto expect = [&](const autograd::Parameter& p, double factor, double Steps::*which) {
    const double d = factor * difference(which);
    EXPECT_NEAR(first(p.grad), d, 2e-4 * std::abs(d) + 1e-5 * factor) << p.spec.name;
    EXPECT_GT(std::abs(d), 1e-4 * factor) << p.spec.name << " has nothing to learn here";
  };
  expect(weight_step, scale(*scheme.format.weight, w.size()), &Steps::weight);
  if (coded_input) expect(input_step, scale(*scheme.format.activation, x.size()), &Steps::input);
  if (plus && coded_input) expect(offset, scale(*scheme.format.activation, x.size()), &Steps::offset);

  // dW against a loop: what the input's codes and its offset stand for, where the weight is not clamped.
  double worst = 0, largest = 0;
  std::vector<double> dw(kN * kK);
  for (std::size_t n = 0; n < kN; ++n) {
    for (std::size_t i = 0; i < kK; ++i) {
      for (std::size_t r = 0; r < kRows; ++r)
        dw[n * kK + i] += static_cast<double>(dy[r * kN + n]) * xs.value(r * kK + i, at.input, at.offset);
      if (std::abs(ws.rows[n * kK + i] / at.weight) > ws.edge) dw[n * kK + i] = 0;
    }
    kernels::reference::hadamard_row(std::span(dw.data() + n * kK, kK), coding.group);
    for (std::size_t i = n * kK; i < (n + 1) * kK; ++i) {
      worst = std::max(worst, std::abs(dw[i] - static_cast<double>(weight.grad.const_data_ptr<float>()[i])));
      largest = std::max(largest, std::abs(dw[i]));
    }
  }
  EXPECT_LT(worst, 1e-5 * largest);
}

std::string case_name(const testing::TestParamInfo<Case>& info) {
  std::string name = info.param.format + "_" + info.param.estimator + "_" + info.param.transform;
  for (char& c : name)
    if (!std::isalnum(static_cast<unsigned char>(c))) c = c == '+' ? 'P' : '_';
  return name;
}

INSTANTIATE_TEST_SUITE_P(Estimators, StepGradient,
                         testing::Values(Case{"w4a4", "lsq"}, Case{"w1.58a2", "lsq", "hadamard"}, Case{"w3a16", "lsq"},
                                         Case{"w2a3", "pact"}, Case{"w4a4", "lsq+"}, Case{"w2a2", "lsq+", "hadamard"},
                                         Case{"w1a1", "lsq+"}, Case{"w1.58a3", "lsq+code"}, Case{"w3a16", "lsq+"}),
                         case_name);

// Values around 3 with deviation 2: codes around their mean, or from the least of them up.
TEST(FirstSteps, OfLsqPlusAreTheBestForANormalVariableAndOfItsCodeBeginAtTheLeastValue) {
  const Rng rng(31);
  std::vector<float> x(20000);
  double least = 100;
  for (std::size_t i = 0; i < x.size(); ++i) {
    x[i] = static_cast<float>(3 + 2 * rng.normal(i));
    least = std::min(least, static_cast<double>(x[i]));
  }
  const Grid& grid = *find_grid("3");
  autograd::TorchExecutor executor(1);
  autograd::FirstStep seen;
  seen.see(executor, 1, 100, 100, x.data());
  seen.see(executor, 1, 100, 100, x.data() + 10000);  // as if it were one
  EXPECT_NEAR(seen.step(Estimator::lsq_plus, grid, true), 2 * grid.alpha * 2 / 7, 0.01);
  EXPECT_NEAR(seen.offset(Estimator::lsq_plus, grid), 3, 0.05);
  const float of_code = seen.step(Estimator::lsq_plus_code, grid, true);
  EXPECT_NEAR(of_code, 2 * grid.alpha * std::sqrt(13.0) / 7, 0.01);
  EXPECT_NEAR(seen.offset(Estimator::lsq_plus_code, grid), least + 4 * static_cast<double>(of_code), 1e-4);
  EXPECT_EQ(seen.step(Estimator::lsq_plus, grid, false), of_code) << "weights have no offset";
}

}  // namespace
}  // namespace lowbit
