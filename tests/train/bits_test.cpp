#include "lowbit/train/bits.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "lowbit/autograd/torch_executor.h"
#include "lowbit/files/json.h"
#include "train/support.h"

// --bits-budget: what is measured, allotted, recorded, resumed and refused.
namespace lowbit::test {
namespace {

namespace fs = std::filesystem;

/// Of the small run: 14 matrices of 64 x 64, so that b bits are stored as b + 0.5.
constexpr const char* kBudget = "3.5";

double mean_bits(const files::Json& bits) {
  double sum = 0;
  for (const auto& [name, layer] : bits["layers"].items()) sum += layer["bits"].get<double>() / 14;
  return sum;
}

TEST(BitsBudget, IsKeptToAndWhatWasAllottedIsTrainedPackedShownAndServed) {
  const TemporaryFolder folder;
  write_batches(folder / "b", 240, 32, 1);
  const fs::path run = folder / "run";
  const Outcome outcome = run_program(
      plus(small_run(folder / "b", run, 60), {"--bits-budget", kBudget, "--bits-at", "0.5", "--eval-every", "20"}));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_NE(outcome.err.find("of 3.5000 bits per weight allotted, predicted"), std::string::npos) << outcome.err;
  EXPECT_NE(outcome.out.find("below uniform w3a4 (3.500 bits)"), std::string::npos) << outcome.out;
  const files::Json bits = files::read_json(run / "bits.json");
  EXPECT_EQ(bits["step"], 30);
  ASSERT_EQ(bits["layers"].size(), 14u);
  EXPECT_NEAR(bits["bits"].get<double>(), mean_bits(bits), 1e-12);
  EXPECT_LE(mean_bits(bits), 3.5);
  EXPECT_LE(bits["cost"].get<double>(), bits["uniform"]["cost"].get<double>())
      << "uniform is one of those it chose among";
  double cost = 0;
  for (const auto& [name, layer] : bits["layers"].items()) {
    const double alpha = std::max(layer["alpha"].get<double>(), layer["alpha_error"].get<double>());
    EXPECT_NEAR(layer["cost"].get<double>(),
                alpha * layer["choices"][layer["format"].get<std::string>()]["error"].get<double>(), 1e-12);
    cost += layer["cost"].get<double>();
    // Each width has about the error that a normal variable has.
    EXPECT_NEAR(layer["choices"]["w1a4"]["error"].get<double>(), .363, .05);
    EXPECT_NEAR(layer["choices"]["w4a4"]["error"].get<double>(), .0115, .004);
  }
  EXPECT_NEAR(cost, bits["cost"].get<double>(), 1e-12);

  const fs::path packed = folder / "packed";
  ASSERT_EQ(run_program({lowbit_program(), "pack", "--model", run.string(), "--out", packed.string()}).exit_code, 0);
  const Outcome inspected = run_program({lowbit_program(), "inspect", packed.string(), "--json"});
  const files::Json json = files::parse_json(inspected.out, "inspect");
  EXPECT_NEAR(json["parts"][1]["bits_per_weight"].get<double>(), mean_bits(bits), 1e-12);
  const files::Json sizes = files::read_json(run / "run.json")["sizes"];
  EXPECT_NEAR(8 * (sizes["codes"].get<double>() + sizes["scales"].get<double>()) / (14 * 64 * 64), mean_bits(bits),
              1e-12);
  const std::string page = bytes_of(run / "report.html");
  EXPECT_NE(page.find("Bits by layer"), std::string::npos);
  EXPECT_NE(page.find("blocks.1.down"), std::string::npos);
}

TEST(BitsBudget, MeasuringChangesNothingOfTheRun) {
  const TemporaryFolder folder;
  write_batches(folder / "b", 80, 32, 1);
  for (const char* gain : {"0", "2"}) {
    const fs::path plain = folder / (std::string("plain") + gain), measured = folder / (std::string("measured") + gain);
    ASSERT_EQ(run_program(plus(small_run(folder / "b", plain, 12), {"--gain-lr", gain})).exit_code, 0);
    // One width alone may be chosen: that which the run has.
    const Outcome outcome = run_program(
        plus(small_run(folder / "b", measured, 12),
             {"--gain-lr", gain, "--bits-budget", "4.5", "--bits-choices", "4", "--bits-at", "0.5", "--threads", "2"}));
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    for (const char* file : {"model.safetensors", "optimizer.safetensors", "config.json"})
      EXPECT_TRUE(bytes_of(plain / "checkpoints/step-12" / file) == bytes_of(measured / "checkpoints/step-12" / file))
          << gain << file;
  }
}

TEST(BitsBudget, AnotherNumberOfThreadsAllotsTheSame) {
  const TemporaryFolder folder;
  write_batches(folder / "b", 80, 32, 1);
  for (const char* threads : {"1", "3"}) {
    const Outcome outcome = run_program(
        plus(small_run(folder / "b", folder / threads, 12), {"--bits-budget", kBudget, "--threads", threads}));
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  }
  EXPECT_EQ(differing_files(folder / "1", folder / "3", 12), "");
  EXPECT_TRUE(bytes_of(folder / "1" / "bits.json") == bytes_of(folder / "3" / "bits.json"));
}

TEST(BitsBudget, KillsBeforeAndBehindTheSwitchLeaveTheBytesOfTheUninterruptedRun) {
  EXPECT_EQ(kill_and_resume(60, 5, 5, 37,
                            {"--bits-budget", kBudget, "--bits-at", "0.5", "--gain-lr", "2", "--float-start", "0.2"}),
            "");
}

TEST(BitsBudget, ALongerRunKeepsWhatWasAllotted) {
  const TemporaryFolder folder;
  write_batches(folder / "b", 160, 32, 1);
  ASSERT_EQ(run_program(plus(small_run(folder / "b", folder / "run", 12), {"--bits-budget", kBudget})).exit_code, 0);
  const auto rules = [&](int step) {
    return files::read_json(folder / "run" / ("checkpoints/step-" + std::to_string(step)) /
                            "config.json")["quantization_config"]["layer_formats"];
  };
  const std::string before = bytes_of(folder / "run" / "bits.json");
  const files::Json rules_before = rules(12);
  const Outcome longer =
      run_program({train_program(), "train", "--resume", "--out", (folder / "run").string(), "--steps", "40"});
  ASSERT_EQ(longer.exit_code, 0) << longer.err;
  EXPECT_EQ(longer.err.find("allotted"), std::string::npos) << longer.err;
  EXPECT_TRUE(bytes_of(folder / "run" / "bits.json") == before);
  EXPECT_TRUE(rules_before.is_string());
  EXPECT_EQ(rules_before, rules(40));
}

TEST(BitsBudget, ALayerThatTheLossCannotSeeHasNoSensitivity) {
  const TemporaryFolder folder;
  write_batches(folder / "b", 80, 32, 1);
  train::Options o;
  o.batches = folder / "b";
  o.config = {2, 64, 2, 2, 32, 64, 64, 32};
  o.scheme = default_scheme(parse_format("w4a8"));
  o.steps = 10;
  o.batch = o.micro_batch = 4;
  o.seq = 32;
  o.lr = 1e-3;
  o.bits_budget = 4.5;
  train::check(o);
  autograd::TorchExecutor executor(1);
  autograd::Llama llama(executor, o.config, o.scheme, kernels::Precision::bf16, 32);
  llama.initialize(1);
  for (autograd::Parameter& p : llama.parameters())
    for (std::int64_t i = 0; i < p.value.numel(); ++i) {
      float& w = p.value.mutable_data_ptr<float>()[i];
      if (p.spec.role != model::TensorRole::norm) w *= 10;
      if (p.spec.name == "model.layers.0.self_attn.o_proj.weight" || p.spec.name == "model.layers.1.mlp.up_proj.weight")
        w = 0;
    }
  llama.refresh();
  const auto feed = train::batches_feed(o.batches, 32, 64);
  std::vector<LayerFormat> rules;
  const report::BitsRecord record = train::choose_bits(executor, llama, *feed, 0, 2, o, rules);
  double largest = 0;
  for (const report::LayerBits& layer : record.layers) largest = std::max(largest, layer.alpha);
  EXPECT_GT(largest, 1e-2);
  for (const report::LayerBits& layer : record.layers) {
    const bool unseen = layer.layer == "blocks.0.q" || layer.layer == "blocks.0.k" || layer.layer == "blocks.0.v" ||
                        layer.layer == "blocks.0.o" || layer.layer == "blocks.1.gate" || layer.layer == "blocks.1.up" ||
                        layer.layer == "blocks.1.down";
    if (unseen) {
      EXPECT_LT(std::abs(layer.alpha), 1e-4 * largest) << layer.layer;
      if (layer.layer != "blocks.0.o" && layer.layer != "blocks.1.up") {
        EXPECT_EQ(layer.format, "w1a8") << layer.layer;
      }
    } else {
      EXPECT_GT(std::abs(layer.alpha), 1e-3 * largest) << layer.layer;
    }
  }
}

TEST(BitsBudget, WhatCannotBeIsRefusedInOneLine) {
  const TemporaryFolder folder;
  write_batches(folder / "b", 16, 32, 1);
  const auto expect_refused = [&](const std::vector<std::string>& more, std::string_view word) {
    const Outcome refused = run_program(plus(small_run(folder / "b", folder / "no", 4), more));
    EXPECT_EQ(refused.exit_code, 2) << refused.err;
    EXPECT_EQ(line_count(refused.err), 1) << refused.err;
    EXPECT_NE(refused.err.find(word), std::string::npos) << refused.err;
  };
  expect_refused({"--bits-budget", "1.4"}, "take 1.5000 each");
  expect_refused({"--bits-budget", "-1"}, "--bits-budget -1: choose a number above 0 and at most 32");
  expect_refused({"--bits-budget", "3", "--bits-choices", "2,9"}, "'9' is no width");
  expect_refused({"--bits-budget", "3", "--bits-choices", ""}, "'' is no width");
  expect_refused({"--bits-budget", "3", "--bits-at", "1"}, "--bits-at");
  expect_refused({"--bits-budget", "3", "--bits-at", "0.1", "--float-start", "0.2"}, "--float-start");
  expect_refused({"--bits-budget", "3", "--estimator", "lsq"}, "learned steps");
  expect_refused({"--bits-budget", "3", "--grid", "gaussian"}, "tables for 1 to 4 bits");
  expect_refused({"--bits-budget", "5", "--bits-choices", "4", "--layer-formats", "*=bf16"}, "coded weights");
  EXPECT_FALSE(fs::exists(folder / "no" / "run.json"));
}

}  // namespace
}  // namespace lowbit::test
