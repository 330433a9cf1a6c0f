#include <gtest/gtest.h>

#include <cmath>

#include "autograd/small_config.h"
#include "lowbit/autograd/llama.h"
#include "lowbit/autograd/torch_executor.h"
#include "lowbit/base/rng.h"
#include "lowbit/kernels/reference.h"

// What training adds to the paper's recipe, against what it is defined by: finite differences, and plain loops in
// double.
namespace lowbit {
namespace {

constexpr std::size_t kRows = 48, kLength = 24;

struct Model {
  Model(const std::string& format, Transform transform, std::uint64_t seed, bool gains, bool qk_norm = false,
        std::int64_t scale_group = 0)
      : executor(1),
        llama(executor, config(qk_norm), scheme(format, transform, scale_group), kernels::Precision::f32, kLength) {
    llama.initialize(seed);
    for (autograd::Parameter& p : llama.parameters()) {
      if (p.spec.role == model::TensorRole::norm) continue;
      float* const v = p.value.mutable_data_ptr<float>();
      for (std::int64_t i = 0; i < p.value.numel(); ++i) v[i] *= 4;
    }
    if (gains) llama.add_gains();
    llama.refresh();
    const Rng rng(17);
    for (std::size_t i = 0; i < kRows; ++i) {
      ids.push_back(static_cast<std::int32_t>(rng.below(2 * i, 101)));
      targets.push_back(static_cast<std::int32_t>(rng.below(2 * i + 1, 101)));
    }
  }
  static model::Config config(bool qk_norm) {
    model::Config c = test::small_config(2);
    c.qk_norm = qk_norm;
    return c;
  }
  static Scheme scheme(const std::string& format, Transform transform, std::int64_t scale_group) {
    Scheme s = default_scheme(parse_format(format));
    s.scale_group = scale_group;
    s.transform = transform;
    s.head = parse_head("f32");
    s.attention = AttentionFormat::f32;
    return s;
  }
  /// Mean loss in nats; its gradients are left in the parameters.
  double loss() {
    llama.zero_gradients();
    std::vector<double> losses(kRows);
    llama.accumulate(ids, targets, kLength, 1.0f / kRows, losses);
    double sum = 0;
    for (const double l : losses) sum += l;
    return sum / kRows;
  }
  std::vector<double> gradients() {
    loss();
    std::vector<double> all;
    for (const autograd::Parameter& p : llama.parameters())
      for (std::int64_t i = 0; i < p.grad.numel(); ++i)
        all.push_back(static_cast<double>(p.grad.const_data_ptr<float>()[i]));
    return all;
  }
  autograd::TorchExecutor executor;
  autograd::Llama llama;
  std::vector<std::int32_t> ids, targets;
};

double norm_of(const std::vector<double>& x) {
  double sum = 0;
  for (const double v : x) sum += v * v;
  return std::sqrt(sum);
}

TEST(Gains, TheirGradientIsTheFiniteDifferenceOfTheLossForFloatAndForCodedWeights) {
  // With float activations the loss is smooth in a gain: codes do not change when a row is scaled.
  for (const auto& [format, group] : {std::pair{"f32", 0}, {"w2a16", 0}, {"w1a16", 0}, {"w2a16", 64}}) {
    Model model(format, format[0] == 'w' && group == 0 ? Transform::hadamard_weights : Transform::none, 3, true, false,
                group);
    model.loss();
    std::vector<double> analytic;
    for (const autograd::Parameter& g : model.llama.gains())
      analytic.push_back(static_cast<double>(*g.grad.const_data_ptr<float>()));
    ASSERT_EQ(analytic.size(), 14u);
    std::vector<double> difference, error;
    for (autograd::Parameter& g : model.llama.gains()) {
      float* const value = g.value.mutable_data_ptr<float>();
      const auto at = [&](float x) {
        *value = x;
        model.llama.refresh();
        return model.loss();
      };
      constexpr float kStep = 1.0f / 64;
      const double up = at(1 + kStep), down = at(1 - kStep);
      difference.push_back((up - down) / (2 * static_cast<double>(kStep)));
      error.push_back(difference.back() - analytic[difference.size() - 1]);
      *value = 1;
    }
    // Central differences of step 1/64 leave their cube term: about 1e-4 of the whole.
    EXPECT_LT(norm_of(error), 2e-3 * norm_of(difference)) << format;
    EXPECT_GT(norm_of(difference), 1e-3) << format;
  }
}

TEST(Gains, WeightGradientsAreThoseOfTheScaledWeightTimesTheGain) {
  for (const char* format : {"f32", "w4a4"}) {
    Model with(format, Transform::hadamard, 3, true), without(format, Transform::hadamard, 3, false);
    for (std::size_t i = 0; i < with.llama.parameters().size(); ++i) {
      autograd::Parameter& p = with.llama.parameters()[i];
      if (!p.gain) continue;
      *p.gain->value.mutable_data_ptr<float>() = 2;  // exact, so that the coded model is the same
      float* const v = p.value.mutable_data_ptr<float>();
      for (std::int64_t j = 0; j < p.value.numel(); ++j) v[j] /= 2;
    }
    with.llama.refresh();
    EXPECT_EQ(with.loss(), without.loss()) << format;
    for (std::size_t i = 0; i < with.llama.parameters().size(); ++i) {
      const autograd::Parameter &p = with.llama.parameters()[i], &q = without.llama.parameters()[i];
      const float factor = p.gain ? 2 : 1;
      for (std::int64_t j = 0; j < p.grad.numel(); ++j)
        ASSERT_EQ(p.grad.const_data_ptr<float>()[j], factor * q.grad.const_data_ptr<float>()[j])
            << format << " " << p.spec.name;
    }
  }
}

TEST(QkNorm, GradientsOfItsWeightsAndOfWhatLiesBeforeItAreTheFiniteDifferencesOfTheLoss) {
  Model model("f32", Transform::none, 3, false, true);
  const Rng rng(29);
  std::uint64_t drawn = 0;
  for (autograd::Parameter& p : model.llama.parameters())
    if (p.spec.role == model::TensorRole::norm)
      for (std::int64_t i = 0; i < p.value.numel(); ++i)
        p.value.mutable_data_ptr<float>()[i] = static_cast<float>(1 + 0.3 * rng.normal(drawn++));
  model.llama.refresh();
  model.loss();
  std::size_t seen = 0;
  for (autograd::Parameter& p : model.llama.parameters()) {
    if (p.spec.name.find("self_attn.q") == std::string::npos && p.spec.name.find("self_attn.k") == std::string::npos)
      continue;
    ++seen;
    // Along its own gradient, where the difference is largest, by a 400th of the weight's length.
    const std::vector<float> gradient(p.grad.const_data_ptr<float>(), p.grad.const_data_ptr<float>() + p.grad.numel());
    float* const value = p.value.mutable_data_ptr<float>();
    const std::vector<float> before(value, value + p.value.numel());
    double square = 0, length = 0;
    for (std::size_t i = 0; i < before.size(); ++i) {
      square += static_cast<double>(gradient[i]) * static_cast<double>(gradient[i]);
      length += static_cast<double>(before[i]) * static_cast<double>(before[i]);
    }
    const double step = 0.0025 * std::sqrt(length / square);
    const auto at = [&](double factor) {
      for (std::size_t i = 0; i < before.size(); ++i)
        value[i] =
            static_cast<float>(static_cast<double>(before[i]) + factor * step * static_cast<double>(gradient[i]));
      model.llama.refresh();
      return model.loss();
    };
    // Central differences of two steps, so that their square term goes too.
    const double near = (at(1) - at(-1)) / (2 * step), far = (at(2) - at(-2)) / (4 * step);
    at(0);
    EXPECT_NEAR((4 * near - far) / 3 / square, 1, 1e-3) << p.spec.name;
    EXPECT_GT(square, 0) << p.spec.name;
  }
  EXPECT_EQ(seen, 8u);
}

TEST(QkNorm, RecomputingItOnTheWayBackChangesNoBit) {
  Model kept("w4a4", Transform::hadamard, 3, false, true), again("w4a4", Transform::hadamard, 3, false, true);
  again.llama.set_recompute(true);
  EXPECT_EQ(kept.gradients(), again.gradients());
  EXPECT_NE(kept.gradients(), Model("w4a4", Transform::hadamard, 3, false, false).gradients());
}

TEST(Cage, PullsWeightsByAPartOfTheirDistanceToTheirGrid) {
  for (const auto& [format, group] : {std::pair{"w4a4", 0}, {"w1a1", 0}, {"w1.58a8", 0}, {"w2a2", 64}}) {
    Model model(format, group ? Transform::none : Transform::hadamard, 5, false, false, group);
    autograd::Parameter& p = model.llama.parameter("model.layers.1.mlp.gate_proj.weight");
    // Columns that share a scale are a row.
    const auto k = static_cast<std::size_t>(group ? group : p.spec.columns),
               n = static_cast<std::size_t>(p.spec.elements()) / k;
    const float* const v = p.value.const_data_ptr<float>();
    std::vector<double> expected(v, v + n * k);
    const Grid& grid = *parse_format(format).weight;
    for (std::size_t row = 0; row < n; ++row) {
      std::vector<double> q(expected.begin() + static_cast<std::ptrdiff_t>(row * k),
                            expected.begin() + static_cast<std::ptrdiff_t>((row + 1) * k));
      kernels::reference::hadamard_row(std::span(q), group ? 1 : 128);
      double squares = 0;
      for (const double x : q) squares += x * x;
      const double s = grid.alpha * std::sqrt(squares / static_cast<double>(k)) + 1e-8;
      const double step = grid.zero_is_level ? s : 2 * s / (grid.levels - 1);
      for (double& x : q) {
        const double code = std::clamp(std::floor(x / step + (grid.zero_is_level ? 0.5 : 0.0)),
                                       static_cast<double>(grid.lowest()), static_cast<double>(grid.highest()));
        x = (code + (grid.zero_is_level ? 0.0 : 0.5)) * step;
      }
      kernels::reference::hadamard_row(std::span(q), group ? 1 : 128);
      for (std::size_t i = 0; i < k; ++i) expected[row * k + i] -= 0.25 * (expected[row * k + i] - q[i]);
    }
    const std::vector<double> grid_error = [&] {
      std::vector<double> e(n * k);
      for (std::size_t i = 0; i < n * k; ++i) e[i] = 4 * (static_cast<double>(v[i]) - expected[i]);
      return e;
    }();
    const float* const grad = p.grad.const_data_ptr<float>();
    const std::vector<float> before(grad, grad + n * k);
    model.llama.damp(3);
    double worst_grad = 0;
    for (std::size_t i = 0; i < n * k; ++i)
      worst_grad = std::max(worst_grad, std::abs(static_cast<double>(grad[i]) - before[i] - 3 * grid_error[i]));
    EXPECT_LT(worst_grad, 1e-6) << format;
    model.llama.pull_to_grid(0.25);
    double worst = 0;
    for (std::size_t i = 0; i < n * k; ++i) worst = std::max(worst, std::abs(static_cast<double>(v[i]) - expected[i]));
    EXPECT_LT(worst, 1e-6) << format;
    const float norm = model.llama.parameter("model.norm.weight").value.const_data_ptr<float>()[0];
    EXPECT_EQ(norm, 1) << "only linear layers have a grid";
  }
}

TEST(Distillation, GradientsLieBetweenThoseOfTheTokensAndThoseOfTheTeacherAndVanishWhenTheTeacherIsTheModel) {
  Model student("f32", Transform::none, 3, false), teacher("f32", Transform::none, 9, false),
      twin("f32", Transform::none, 3, false);
  const std::vector<double> hard = student.gradients();
  const double loss = student.loss();
  student.llama.set_teacher(&twin.llama, 1);
  EXPECT_LT(norm_of(student.gradients()), 1e-5 * norm_of(hard));
  EXPECT_EQ(student.loss(), loss) << "the loss that is told stays that of the tokens";
  student.llama.set_teacher(&teacher.llama, 1);
  const std::vector<double> soft = student.gradients();
  student.llama.set_teacher(&teacher.llama, 0.25f);
  const std::vector<double> mixed = student.gradients();
  std::vector<double> error(hard.size());
  for (std::size_t i = 0; i < hard.size(); ++i) error[i] = mixed[i] - (0.75 * hard[i] + 0.25 * soft[i]);
  EXPECT_LT(norm_of(error), 1e-5 * norm_of(hard));
  EXPECT_GT(norm_of(soft), 0.01 * norm_of(hard));
}

TEST(FloatStart, AModelInBf16ForAWhileHasTheLossOfABf16ModelAndThenThatOfItsFormat) {
  Model low("w2a2", Transform::hadamard, 3, false);
  const double coded = low.loss();
  low.llama.set_format(parse_format("bf16"));
  low.llama.refresh();
  EXPECT_EQ(low.loss(), Model("bf16", Transform::hadamard, 3, false).loss());
  low.llama.set_format(parse_format("w2a2"));
  low.llama.refresh();
  EXPECT_EQ(low.loss(), coded);
}

}  // namespace
}  // namespace lowbit
