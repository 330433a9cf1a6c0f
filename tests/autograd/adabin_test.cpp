#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>

#include "lowbit/autograd/layers.h"
#include "lowbit/autograd/torch_executor.h"
#include "lowbit/base/rng.h"
#include "lowbit/kernels/reference.h"

// AdaBin's layer against loops in double: what it puts out in closed form, and its gradients as finite differences of
// what its stand-in derivatives stand for: sign z = F(z) + c with F(z) = z (2 - |z|) inside of 1 for inputs, F(z) = z
// for weights, and c, the distance to the sign, held fast.
namespace lowbit {
namespace {

constexpr std::size_t kRows = 9, kN = 13, kK = 96;
using Values = std::vector<double>;

double sign(double z) { return z < 0 ? -1 : 1; }
double rounded_sign(double z) { return std::abs(z) < 1 ? z * (2 - std::abs(z)) : sign(z); }

Values rotated(const std::vector<float>& x, int group) {
  Values out(x.begin(), x.end());
  for (std::size_t r = 0; r < out.size() / kK; ++r)
    kernels::reference::hadamard_row(std::span(out.data() + r * kK, kK), group);
  return out;
}

struct Inputs {
  double alpha, beta;
};
double z_of(double x, const Inputs& s) { return (x - s.beta) / s.alpha; }

/// Mean and deviation of each row.
std::vector<Inputs> rows_of(const Values& w) {
  std::vector<Inputs> out;
  for (std::size_t r = 0; r < w.size() / kK; ++r) {
    double mean = 0, squares = 0;
    for (std::size_t i = 0; i < kK; ++i) mean += w[r * kK + i] / kK;
    for (std::size_t i = 0; i < kK; ++i) squares += (w[r * kK + i] - mean) * (w[r * kK + i] - mean) / kK;
    out.push_back({std::sqrt(squares), mean});
  }
  return out;
}

struct Layer {
  std::vector<float> x = std::vector<float>(kRows * kK), w = std::vector<float>(kN * kK),
                     dy = std::vector<float>(kRows * kN);
  std::vector<float> y = std::vector<float>(kRows * kN), dx = std::vector<float>(kRows * kK);
  autograd::TorchExecutor executor{2};
  autograd::Parameter weight, step, offset;
  model::TensorCoding coding;

  explicit Layer(const Scheme& scheme) : coding(model::coding_of({"", model::TensorRole::q, 0, kN, kK}, scheme)) {
    const Rng rng(37);
    std::uint64_t draw = 0;
    for (float& v : x) v = static_cast<float>(rng.normal(draw++) + 0.3);
    for (float& v : w) v = static_cast<float>(0.1 * rng.normal(draw++) + 0.05);  // rows of a mean that matters
    for (float& v : dy) v = static_cast<float>(rng.normal(draw++));
    const auto options = at::TensorOptions().dtype(at::kFloat);
    weight.spec = {"w", model::TensorRole::q, 0, kN, kK};
    weight.value = at::zeros({kN, kK}, options);
    weight.grad = at::zeros({kN, kK}, options);
    std::memcpy(weight.value.mutable_data_ptr<float>(), w.data(), 4 * w.size());
    step.spec = {"w.input_step", model::TensorRole::norm, 0, 1, 1};
    offset.spec = {"w.input_offset", model::TensorRole::norm, 0, 1, 1};
    step.value = at::full({1}, 1.7f, options);
    offset.value = at::full({1}, 0.2f, options);
    step.grad = at::zeros({1}, options);
    offset.grad = at::zeros({1}, options);
    nn::LinearWeights weights;
    weights.set(executor, coding, kN, kK, w.data(), {true, true});
    const autograd::Draws draws;
    autograd::Context context{&executor, kernels::Precision::f32, nullptr, false, &draws};
    context.estimator = scheme.estimator;
    autograd::LinearGroup group(context, {&weights}, {&weight});
    if (scheme.format.activation) group.set_steps({nullptr}, &step, &offset);
    group.prepare(x.data(), kRows, true);
    float* const out = y.data();
    group.multiply_into(std::span(&out, 1));
    const float* const gradient = dy.data();
    group.backward_into(std::span(&gradient, 1), dx.data());
  }
};

double first(const at::Tensor& t) { return static_cast<double>(*t.const_data_ptr<float>()); }

class Adabin : public testing::TestWithParam<const char*> {};

TEST_P(Adabin, OutputIsThatOfItsTwoValuesASideAndGradientsAreFiniteDifferencesOfWhatItsDerivativesStandFor) {
  for (const Transform transform : {Transform::none, Transform::hadamard}) {
    Scheme scheme = default_scheme(parse_format(GetParam()));
    scheme.estimator = Estimator::adabin;
    scheme.transform = transform;
    scheme.check();
    const bool coded = scheme.format.activation;
    const Layer layer(scheme);
    const Inputs at{first(layer.step.value) / 2, first(layer.offset.value)};
    const Values x = rotated(layer.x, layer.coding.input_group), w = rotated(layer.w, layer.coding.group);
    const std::vector<Inputs> at_w = rows_of(w);
    // c of either side.
    Values cx(x.size()), cw(w.size());
    for (std::size_t i = 0; i < x.size(); ++i) cx[i] = sign(z_of(x[i], at)) - rounded_sign(z_of(x[i], at));
    for (std::size_t i = 0; i < w.size(); ++i) cw[i] = sign(z_of(w[i], at_w[i / kK])) - z_of(w[i], at_w[i / kK]);
    const auto outputs = [&](const Inputs& s, const Values& xs, const Values& ws) {
      const std::vector<Inputs> rows = rows_of(ws);
      Values xq(xs.size()), wq(ws.size()), y(kRows * kN);
      for (std::size_t i = 0; i < xs.size(); ++i)
        xq[i] = coded ? s.alpha * (rounded_sign(z_of(xs[i], s)) + cx[i]) + s.beta : xs[i];
      for (std::size_t i = 0; i < ws.size(); ++i)
        wq[i] = rows[i / kK].alpha * (z_of(ws[i], rows[i / kK]) + cw[i]) + rows[i / kK].beta;
      for (std::size_t r = 0; r < kRows; ++r)
        for (std::size_t n = 0; n < kN; ++n)
          for (std::size_t i = 0; i < kK; ++i) y[r * kN + n] += xq[r * kK + i] * wq[n * kK + i];
      return y;
    };
    const Values y = outputs(at, x, w);
    for (std::size_t i = 0; i < y.size(); ++i) ASSERT_NEAR(layer.y[i], y[i], 2e-5 * (1 + std::abs(y[i]))) << i;

    const auto objective = [&](const Inputs& s, const Values& xs, const Values& ws) {
      const Values out = outputs(s, xs, ws);
      double sum = 0;
      for (std::size_t i = 0; i < out.size(); ++i) sum += out[i] * static_cast<double>(layer.dy[i]);
      return sum;
    };
    constexpr double kStep = 1e-6;
    const auto difference = [&](const std::function<double(double)>& f) {
      return (f(kStep) - f(-kStep)) / (2 * kStep);
    };
    if (coded) {
      const double scale = 1 / std::sqrt(static_cast<double>(x.size()));
      const double of_step = scale * difference([&](double d) { return objective({at.alpha + d / 2, at.beta}, x, w); });
      const double of_offset = scale * difference([&](double d) { return objective({at.alpha, at.beta + d}, x, w); });
      EXPECT_NEAR(first(layer.step.grad), of_step, 1e-4 * std::abs(of_step) + 1e-5);
      EXPECT_NEAR(first(layer.offset.grad), of_offset, 1e-4 * std::abs(of_offset) + 1e-5);
    }
    // Gradients of single entries of x H and w H; what the layer returns is rotated back.
    const Values dx = rotated(layer.dx, layer.coding.input_group);
    const float* const g = layer.weight.grad.const_data_ptr<float>();
    const Values dw = rotated(std::vector<float>(g, g + kN * kK), layer.coding.group);
    for (const std::size_t i : {0, 17, 101, 333, 500, 801}) {
      Values moved = x;
      const double of_x = difference([&](double d) {
        moved[i] = x[i] + d;
        return objective(at, moved, w);
      });
      EXPECT_NEAR(dx[i], of_x, 2e-4 * (1 + std::abs(of_x))) << "x " << i;
      Values moved_w = w;
      const double of_w = difference([&](double d) {
        moved_w[i] = w[i] + d;
        return objective(at, x, moved_w);
      });
      EXPECT_NEAR(dw[i], of_w, 2e-4 * (1 + std::abs(of_w))) << "w " << i;
    }
  }
}
INSTANTIATE_TEST_SUITE_P(Formats, Adabin, testing::Values("w1a1", "w1a16"));

}  // namespace
}  // namespace lowbit
