#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "golden/run_golden.h"
#include "golden/test_support.h"
#include "lowbit/machine/bf16_unit.h"
#include "lowbit/files/json.h"
#include "lowbit/autograd/llama.h"
#include "lowbit/autograd/torch_executor.h"
#include "lowbit/model/schedule.h"
#include "lowbit/train/optimizer.h"
#include "support/data.h"

// The training engine that ships, against 40 steps of the paper's code in float64 (golden/runs of the test data).
namespace lowbit::golden {
namespace {

constexpr std::size_t kRows = test::GoldenBatches::kSequences * test::GoldenBatches::kLength;

struct Case {
  std::string name;
  kernels::Precision backward;
};

std::string case_name(const testing::TestParamInfo<Case>& info) {
  std::string name = info.param.name + (info.param.backward == kernels::Precision::f32 ? "_f32" : "_bf16");
  for (char& c : name)
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  return name;
}

model::Config golden_config() {
  model::Config c;
  c.layers = 2;
  c.width = 128;
  c.heads = c.kv_heads = 2;
  c.head_dim = 64;
  c.mlp = 512;
  c.vocab = 512;
  c.positions = 64;
  return c;
}

void split(std::span<const std::uint16_t> windows, std::vector<std::int32_t>& ids, std::vector<std::int32_t>& targets) {
  ids.clear();
  targets.clear();
  constexpr std::size_t length = test::GoldenBatches::kLength;
  for (std::size_t s = 0; s < test::GoldenBatches::kSequences; ++s)
    for (std::size_t i = 0; i < length; ++i) {
      ids.push_back(windows[s * (length + 1) + i]);
      targets.push_back(windows[s * (length + 1) + i + 1]);
    }
}

/// The shipped engine at the golden initial weights.
struct Engine {
  autograd::TorchExecutor executor{2};
  autograd::Llama llama;
  std::vector<std::int32_t> ids, targets;
  std::vector<double> losses = std::vector<double>(kRows);
  test::GoldenBatches batches;

  explicit Engine(const Case& c) : llama(executor, golden_config(), golden_setup(c.name).scheme, c.backward, 64) {
    const files::SafetensorsFile file = golden_weights();
    for (autograd::Parameter& p : llama.parameters()) {
      const auto values = file.at(p.spec.name).floats();
      std::copy(values.begin(), values.end(), p.value.mutable_data_ptr<float>());
    }
    llama.refresh();
  }

  double accumulate(std::size_t batch) {
    split(batches.batch(batch), ids, targets);
    llama.zero_gradients();
    llama.accumulate(ids, targets, test::GoldenBatches::kLength, 1.0f / kRows, losses);
    double sum = 0;
    for (const double loss : losses) sum += loss;
    return sum / kRows;
  }
};

class GoldenTraining : public testing::TestWithParam<Case> {};

TEST_P(GoldenTraining, FollowsTheFortyLosses) {
  // After the first code that rounding decides otherwise the runs are chaotic: one way of rounding, so that the verdict
  // does not depend on which way a processor does faster. With fma on this data w2a16 ends 0.085 off, mean -0.011.
  choose_bf16_unit(Bf16Unit::on);
  LOWBIT_NEEDS_DATA();
  const test::GoldenRun golden = test::load_golden_run(GetParam().name);
  Engine engine(GetParam());
  train::AdamW optimizer(engine.executor, engine.llama, {0.9, 0.95, 1e-8, 0.1, 1.0});
  std::vector<double> losses;
  for (std::int64_t step = 0; step < 40; ++step) {
    losses.push_back(engine.accumulate(static_cast<std::size_t>(step)));
    optimizer.update(step + 1, model::one_cycle_cosine(step, 40, 4, 2e-3));
    engine.llama.refresh();
  }
  // A float32 model is never rounded on the way back, so `none` is held to the f32 bounds either way.
  const bool bf16 = GetParam().backward == kernels::Precision::bf16 && GetParam().name != "none";
  EXPECT_EQ(test::compare_losses(golden, losses, test::loss_tolerance(GetParam().name, bf16)), "");
}

TEST_P(GoldenTraining, HasTheInitialLossesLogitsAndGradients) {
  LOWBIT_NEEDS_DATA();
  const std::string& name = GetParam().name;
  const test::GoldenRun golden = test::load_golden_run(name);
  const test::GoldenRun plain = test::load_golden_run(name.substr(0, name.find('@')));
  Engine engine(GetParam());
  const Scheme scheme = golden_setup(name).scheme;
  const bool ties = scheme.format.quantized() && scheme.transform == Transform::none;
  const bool fine = scheme.format.quantized() && scheme.format.weight->levels == 256;

  std::vector<double> differences;
  for (std::size_t b = 0; b < plain.init_losses.size(); ++b)
    differences.push_back(std::abs(engine.accumulate(b) - plain.init_losses[b]));
  if (!differences.empty()) {
    std::sort(differences.begin(), differences.end());
    EXPECT_LE(differences[differences.size() / 2], ties ? 1e-3 : fine ? 2e-4 : 5e-6);
    EXPECT_LE(differences.back(), ties ? 4e-3 : 1e-3);
  }

  const double loss = engine.accumulate(0);
  const test::LossTolerance tolerance = test::loss_tolerance(name, GetParam().backward == kernels::Precision::bf16);
  EXPECT_NEAR(loss, golden.step0.loss, tolerance.largest[0]);
  std::vector<float> logits(kRows * 512);
  engine.llama.logits(engine.ids, 64, logits.data());
  const std::vector<float> last(logits.begin() + 63 * 512, logits.begin() + 64 * 512);
  const double logit_distance = distance(last, golden.step0.logits);
  // No code flips at step 0 for most runs, and then float32 agrees to 1e-6. Where one does (a tie without Hadamard, a
  // fine cell), its step shows: golden/runs/README.md, "One-step deviations", columns logits0 and grad0.
  const bool flips = ties || fine || name.starts_with("w4a8") || name.starts_with("w2a8") || name.starts_with("w2a2");
  EXPECT_LE(logit_distance, flips ? 0.2 : 5e-6);

  double squares = 0;
  const bool f32 = GetParam().backward == kernels::Precision::f32;
  for (autograd::Parameter& p : engine.llama.parameters()) {
    const float* grad = p.grad.const_data_ptr<float>();
    const auto n = static_cast<std::size_t>(p.grad.numel());
    double own = 0;
    for (std::size_t i = 0; i < n; ++i) own += static_cast<double>(grad[i]) * static_cast<double>(grad[i]);
    squares += own;
    const double l2_error = relative(std::sqrt(own), golden.step0.grad.at(p.spec.name).l2);
    EXPECT_LE(l2_error, flips ? 0.1 : f32 ? 1e-5 : 1e-3) << p.spec.name;
  }
  EXPECT_LE(relative(std::sqrt(squares), golden.step0.grad_norm), flips ? (ties ? 1e-2 : 1e-3) : f32 ? 1e-6 : 1e-4);
  for (const auto& [slice, wanted] : golden.step0.entries) {
    if (flips) break;  // one flipped code may change single entries by their whole size
    const test::EntrySlice at = test::parse_entry_slice(slice);
    const autograd::Parameter& p = engine.llama.parameter(at.tensor);
    const float* row = p.grad.const_data_ptr<float>() + at.row * static_cast<std::size_t>(p.spec.columns);
    const double rms = golden.step0.grad.at(at.tensor).l2 / std::sqrt(static_cast<double>(p.spec.elements()));
    for (std::size_t i = at.first; i < at.last; ++i)
      EXPECT_NEAR(row[i], wanted[i - at.first], (f32 ? 1e-4 : 3e-2) * (rms + std::abs(wanted[i - at.first]))) << slice;
  }
}

std::vector<Case> cases() {
  std::vector<Case> list{
      {"none", kernels::Precision::f32}, {"none", kernels::Precision::bf16}, {"w4a4@closed", kernels::Precision::f32}};
  // Float activations rotated with the weights: the published tolerances of these three were taken over from their
  // neighbours, not measured, and with bf16 gradients two of them leave by more (w1a16-full 1e-3 at step 3, w4a16-full
  // 4e-2 after step 20, either way with small changes elsewhere). In f32 they hold.
  for (const char* name : {"w4a16-full", "w2a16-full", "w1a16-full"}) list.push_back({name, kernels::Precision::f32});
  // Levels of a table are no integers: --backward bf16 rounds them, which moves gradients' norms by up to 3e-3.
  list.push_back({"w4a4-gaussian", kernels::Precision::f32});
  for (const char* name : {"w8a8@closed", "w4a4@closed", "w3a3@closed", "w2a2@closed", "w1a1", "w4a8@closed",
                           "w2a8@closed", "w4a16", "w2a16", "w1a16", "w4a4-nohadamard@closed", "w4a4-ste", "w4a4-clip",
                           "w1a1-nohadamard", "fp4", "fp4-paper", "w4a4+2:4", "w4a4-absmax"})
    list.push_back({name, kernels::Precision::bf16});
  return list;
}

/// What one of our learned steps is called in the golden runs, where gate and up have an input step each.
std::vector<std::string> golden_names(const model::StepSpec& spec) {
  const std::string at = spec.tensor.name.substr(0, spec.tensor.name.rfind('.'));
  std::string layer = at.ends_with("q_proj") ? at.substr(0, at.size() - 6) + "qkv_proj" : at;
  const std::string what = !spec.input   ? ".weight_quantizer.alpha_weight"
                           : spec.offset ? ".activation_quantizer.beta_weight"
                                         : ".activation_quantizer.alpha_weight";
  std::vector<std::string> names{layer + what};
  if (spec.input && layer.ends_with("gate_proj")) names.push_back(layer.replace(layer.size() - 9, 9, "up_proj") + what);
  return names;
}

TEST(GoldenSteps, OfLsqPlusWithOneStepForQKAndVBeginAndLearnAsTheFusedOnesOfTheCodeAndItsLossIsRepeated) {
  LOWBIT_NEEDS_DATA();
  const test::GoldenRun golden = test::load_golden_run("w4a4-lsqplus");
  const files::Json json = files::read_json(test::golden_folder() / "runs/golden.json");
  const files::Json& begin = json["variants"]["w4a4-lsqplus"]["step_params_init"];
  Engine engine({"w4a4-lsqplus", kernels::Precision::f32});
  EXPECT_NEAR(engine.accumulate(0), golden.step0.loss, 5e-5);
  const auto specs = model::step_tensors(golden_config(), engine.llama.weights().scheme);
  ASSERT_EQ(specs.size(), 2u * (5 + 4 + 4));
  for (std::size_t i = 0; i < specs.size(); ++i) {
    const autograd::Parameter& p = engine.llama.steps()[i];
    const std::vector<std::string> names = golden_names(specs[i]);
    const double value = begin[names[0]];
    // What an input begins with follows a code that float32 decides otherwise.
    EXPECT_NEAR(*p.value.const_data_ptr<float>(), value, (specs[i].input ? 5e-5 : 3e-7) * std::abs(value))
        << p.spec.name;
    double gradient = 0;
    for (const std::string& name : names) gradient += golden.step0.grad.at(name).sum;
    // README, "One-step deviations", float32: 8e-4 of the worst tensor; a step's gradient is a sum of terms of either
    // sign.
    EXPECT_NEAR(*p.grad.const_data_ptr<float>(), gradient, 1e-2 * std::abs(gradient) + 2e-8) << p.spec.name;
  }
  std::vector<double> differences;
  for (std::size_t b = 0; b < golden.init_losses.size(); ++b)
    differences.push_back(std::abs(engine.accumulate(b) - golden.init_losses[b]));
  std::sort(differences.begin(), differences.end());
  ASSERT_EQ(differences.size(), 41u);
  EXPECT_LE(differences[20], 5e-6);
  EXPECT_LE(differences.back(), 1e-3);
}

TEST(GoldenSteps, OfLsqBeginAsTheFusedOnesOfTheCodeOnlyWhereTheyAreShared) {
  LOWBIT_NEEDS_DATA();
  const files::Json json = files::read_json(test::golden_folder() / "runs/golden.json");
  const double fused = json["variants"]["w4a4-lsq@tie0"]["step_params_init"]
                           ["model.layers.1.self_attn.qkv_proj.weight_quantizer.alpha_weight"];
  for (const bool shared : {true, false}) {
    Scheme scheme = golden_setup("w4a4-lsq@tie0").scheme;
    scheme.share_steps = shared;
    autograd::TorchExecutor executor(1);
    autograd::Llama llama(executor, golden_config(), scheme, kernels::Precision::f32, 64);
    const files::SafetensorsFile file = golden_weights();
    for (autograd::Parameter& p : llama.parameters()) {
      const auto values = file.at(p.spec.name).floats();
      std::copy(values.begin(), values.end(), p.value.mutable_data_ptr<float>());
    }
    llama.refresh();
    for (const autograd::Parameter& p : llama.steps()) {
      if (p.spec.name != "model.layers.1.self_attn.q_proj.step") continue;
      const double off = std::abs(static_cast<double>(*p.value.const_data_ptr<float>()) / fused - 1);
      EXPECT_EQ(off < 3e-7, shared) << off;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Runs, GoldenTraining, testing::ValuesIn(cases()), case_name);

}  // namespace
}  // namespace lowbit::golden
