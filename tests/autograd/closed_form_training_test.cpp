#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "golden/closed_form.h"
#include "golden/run_golden.h"
#include "golden/test_support.h"
#include "lowbit/autograd/llama.h"
#include "lowbit/autograd/torch_executor.h"
#include "lowbit/model/schedule.h"
#include "lowbit/train/optimizer.h"

// The training engine that ships, in float32, against runs that were computed outside of it in float64.
//
// Tolerances. In none of these runs does a code lie so near to a cell's edge that float32 decides it otherwise, on any
// instruction set (LOWBIT_ISA=scalar, avx2, avx512). So all ten steps are held to float32's own accuracy: 1e-6 of a
// loss of 4.5, 5e-6 of logits and of the gradients' norms (seen: 3e-7). A wrong constant, mask, rotation or layer shows
// from the first step on, a missing weight decay as 1e-5. Should a backward pass that sums in another order flip a
// code, the losses after it differ by 1e-1: look which code it is, and give make_golden.py another seed.
namespace lowbit::golden::closed_form {
namespace {

model::Config config() {
  model::Config c;
  c.layers = static_cast<std::int64_t>(kShape.layers);
  c.width = static_cast<std::int64_t>(kShape.hidden);
  c.heads = c.kv_heads = static_cast<std::int64_t>(kShape.heads);
  c.head_dim = static_cast<std::int64_t>(kShape.head_dim);
  c.mlp = static_cast<std::int64_t>(kShape.mlp);
  c.vocab = static_cast<std::int64_t>(kVocabulary);
  c.positions = static_cast<std::int64_t>(kLength);
  return c;
}

struct Engine {
  autograd::TorchExecutor executor{2};
  autograd::Llama llama;
  std::vector<std::vector<std::uint16_t>> windows = batches();
  std::vector<std::int32_t> ids, targets;
  std::vector<double> losses = std::vector<double>(kTokens);

  explicit Engine(const std::string& name)
      : llama(executor, config(), golden_setup(name + "@closed").scheme, kernels::Precision::f32, kLength) {
    const files::SafetensorsFile file = weights();
    for (autograd::Parameter& p : llama.parameters()) {
      const auto values = file.at(p.spec.name).floats();
      std::copy(values.begin(), values.end(), p.value.mutable_data_ptr<float>());
    }
    llama.refresh();
  }

  /// Mean loss of a batch; leaves its gradients.
  double accumulate(std::size_t batch) {
    const Batch b{kSequences, kLength, windows.at(batch)};
    ids.clear(), targets.clear();
    for (std::size_t i = 0; i < kTokens; ++i) {
      ids.push_back(static_cast<std::int32_t>(b.input(i)));
      targets.push_back(static_cast<std::int32_t>(b.target(i)));
    }
    llama.zero_gradients();
    llama.accumulate(ids, targets, kLength, 1.0f / kTokens, losses);
    double sum = 0;
    for (const double loss : losses) sum += loss;
    return sum / kTokens;
  }
};

struct ClosedFormTraining : testing::TestWithParam<std::string> {};

TEST_P(ClosedFormTraining, FirstStepHasTheLossLogitsAndGradients) {
  const test::GoldenRun golden = run(GetParam());
  Engine engine(GetParam());
  EXPECT_NEAR(engine.accumulate(0), golden.step0.loss, 1e-6);
  std::vector<float> logits(kTokens * kVocabulary);
  engine.llama.logits(engine.ids, kLength, logits.data());
  const auto last = logits.begin() + static_cast<std::ptrdiff_t>((kLength - 1) * kVocabulary);
  EXPECT_LE(distance(std::vector<float>(last, last + kVocabulary), golden.step0.logits), 5e-6);
  double squares = 0;
  for (autograd::Parameter& p : engine.llama.parameters()) {
    const float* grad = p.grad.const_data_ptr<float>();
    const std::vector<float> gradient(grad, grad + p.grad.numel());
    squares += l2(gradient) * l2(gradient);
    EXPECT_LE(relative(l2(gradient), golden.step0.grad.at(p.spec.name).l2), 5e-6) << p.spec.name;
  }
  EXPECT_LE(relative(std::sqrt(squares), golden.step0.grad_norm), 2e-6);
  for (const auto& [slice, wanted] : golden.step0.entries) {
    const test::EntrySlice at = test::parse_entry_slice(slice);
    const autograd::Parameter& p = engine.llama.parameter(at.tensor);
    const float* row = p.grad.const_data_ptr<float>() + at.row * static_cast<std::size_t>(p.spec.columns);
    const double rms = golden.step0.grad.at(at.tensor).l2 / std::sqrt(static_cast<double>(p.spec.elements()));
    for (std::size_t i = at.first; i < at.last; ++i)
      EXPECT_NEAR(row[i], wanted[i - at.first], 5e-5 * (rms + std::abs(wanted[i - at.first]))) << slice;
  }
}

TEST_P(ClosedFormTraining, TenLossesFollow) {
  const test::GoldenRun golden = run(GetParam());
  Engine engine(GetParam());
  train::AdamW optimizer(engine.executor, engine.llama, {0.9, 0.95, 1e-8, 0.1, 1.0});
  Worst loss, norm;
  for (std::size_t step = 0; step < kSteps; ++step) {
    loss.see(std::abs(engine.accumulate(step) - golden.loss[step]));
    const auto at = static_cast<std::int64_t>(step);
    norm.see(relative(optimizer.update(at + 1, model::one_cycle_cosine(at, kSteps, kWarmup, kPeak)),
                      golden.grad_norm[step]));
    engine.llama.refresh();
  }
  loss.see(std::abs(engine.accumulate(kSteps) - golden.extra_loss));
  std::printf("%s: largest difference of a loss %.1e, of a gradient norm %.1e\n", GetParam().c_str(), loss.value,
              norm.value);
  EXPECT_LE(loss.value, 1e-6);
  EXPECT_LE(norm.value, 3e-6);
}

INSTANTIATE_TEST_SUITE_P(Runs, ClosedFormTraining, testing::Values("none", "w4a4", "w3a3", "w2a2", "w1a1"),
                         golden_test_name);

}  // namespace
}  // namespace lowbit::golden::closed_form
