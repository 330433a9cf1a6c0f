#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "lowbit/files/safetensors.h"
#include "train/support.h"

namespace lowbit::test {
namespace {

namespace fs = std::filesystem;

std::string logits(const fs::path& folder, const fs::path& model, const std::vector<std::string>& more) {
  const fs::path out = folder / "logits.npy";
  const Outcome outcome = run_program(plus({lowbit_program(), "logits", "--model", model.string(), "--ids",
                                            (folder / "ids").string(), "--out", out.string()},
                                           more));
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  return bytes_of(out);
}

TEST(LearnedSteps, OfEveryEstimatorAreServedAsTheyWereTrainedFromTheCheckpointAndPacked) {
  const TemporaryFolder folder;
  write_batches(folder / "b", 80, 32, 1);
  {
    std::ofstream ids(folder / "ids", std::ios::binary);
    for (int i = 0; i < 30; ++i) ids << static_cast<char>(i * 7 % 64) << '\0';
  }
  for (const char* estimator : {"lsq", "pact", "pact-code", "lsq+", "lsq+code"}) {
    const fs::path run = folder / estimator, packed = folder / (estimator + std::string("-packed"));
    const Outcome outcome =
        run_program(plus(small_run(folder / "b", run, 12), {"--estimator", estimator, "--transform", "none"}));
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    const Outcome pack = run_program({lowbit_program(), "pack", "--model", run.string(), "--out", packed.string()});
    ASSERT_EQ(pack.exit_code, 0) << pack.err;
    const std::string trained = logits(folder.path(), run, {"--engine", "train"});
    EXPECT_TRUE(trained == logits(folder.path(), run, {})) << estimator;
    EXPECT_TRUE(trained == logits(folder.path(), packed, {"--chunk", "3", "--isa", "scalar"})) << estimator;
    const files::SafetensorsFile weights(packed / "model.safetensors");
    EXPECT_NE(weights.find("model.layers.1.mlp.gate_proj.input_step"), nullptr);
    EXPECT_EQ(weights.find("model.layers.1.mlp.gate_proj.input_offset") != nullptr, estimator[3] == '+') << estimator;
    EXPECT_EQ(weights.find("model.layers.1.mlp.gate_proj.step"), nullptr) << "the scale of packed codes holds it";
  }
}

TEST(LearnedSteps, OfAdabinAreServedWithTheMeansOfTheWeightsRowsAndWhatItCannotBeIsRefused) {
  const TemporaryFolder folder;
  write_batches(folder / "b", 80, 32, 1);
  {
    std::ofstream ids(folder / "ids", std::ios::binary);
    for (int i = 0; i < 30; ++i) ids << static_cast<char>(i * 7 % 64) << '\0';
  }
  for (const char* format : {"w1a1", "w1a16"}) {
    const fs::path run = folder / format, packed = folder / (format + std::string("-packed"));
    const Outcome outcome =
        run_program(plus(with_format(small_run(folder / "b", run, 12), format), {"--estimator", "adabin"}));
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    ASSERT_EQ(run_program({lowbit_program(), "pack", "--model", run.string(), "--out", packed.string()}).exit_code, 0);
    const std::string trained = logits(folder.path(), run, {"--engine", "train"});
    EXPECT_TRUE(trained == logits(folder.path(), run, {})) << format;
    EXPECT_TRUE(trained == logits(folder.path(), packed, {"--chunk", "3", "--isa", "scalar"})) << format;
    const files::SafetensorsFile weights(packed / "model.safetensors");
    EXPECT_NE(weights.find("model.layers.1.mlp.gate_proj.weight.offset"), nullptr);
    EXPECT_EQ(weights.find("model.layers.1.mlp.gate_proj.input_offset") != nullptr, format == std::string("w1a1"));
    EXPECT_EQ(run_program({lowbit_program(), "inspect", packed.string()}).exit_code, 0);
  }
  for (const std::vector<std::string>& more : {std::vector<std::string>{"--format", "w4a4"},
                                               {"--format", "w1a1", "--cage", "1"},
                                               {"--format", "w1a1", "--share-steps"},
                                               {"--format", "w1a1+2:4"}}) {
    const std::vector<std::string> rest(more.begin() + 2, more.end());
    const Outcome refused = run_program(
        plus(plus(with_format(small_run(folder / "b", folder / "no", 4), more[1]), {"--estimator", "adabin"}), rest));
    EXPECT_EQ(refused.exit_code, 2) << more[1] << refused.err;
    EXPECT_EQ(std::count(refused.err.begin(), refused.err.end(), '\n'), 1) << refused.err;
  }
}

TEST(LearnedSteps, SharedByQKAndVAreSavedOnceServedAsTheyWereTrainedAndNamedInTheConfiguration) {
  const TemporaryFolder folder;
  write_batches(folder / "b", 80, 32, 1);
  {
    std::ofstream ids(folder / "ids", std::ios::binary);
    for (int i = 0; i < 30; ++i) ids << static_cast<char>(i * 7 % 64) << '\0';
  }
  const fs::path run = folder / "run", packed = folder / "packed";
  ASSERT_EQ(run_program(plus(small_run(folder / "b", run, 12), {"--estimator", "lsq+", "--share-steps"})).exit_code, 0);
  const files::SafetensorsFile weights(run / "checkpoints" / "step-12" / "model.safetensors");
  EXPECT_NE(weights.find("model.layers.0.self_attn.q_proj.step"), nullptr);
  EXPECT_EQ(weights.find("model.layers.0.self_attn.k_proj.step"), nullptr);
  EXPECT_NE(weights.find("model.layers.0.mlp.up_proj.step"), nullptr);
  ASSERT_EQ(run_program({lowbit_program(), "pack", "--model", run.string(), "--out", packed.string()}).exit_code, 0);
  const std::string trained = logits(folder.path(), run, {"--engine", "train"});
  EXPECT_TRUE(trained == logits(folder.path(), run, {"--isa", "avx2"}));
  EXPECT_TRUE(trained == logits(folder.path(), packed, {}));
  const Outcome inspected = run_program({lowbit_program(), "inspect", run.string()});
  EXPECT_NE(inspected.out.find("steps shared by q, k and v"), std::string::npos) << inspected.out << inspected.err;
}

TEST(LearnedSteps, ThreeKillsLeaveTheBytesOfTheUninterruptedRun) {
  EXPECT_EQ(kill_and_resume(60, 5, 3, 19, {"--estimator", "lsq"}), "");
  EXPECT_EQ(kill_and_resume(60, 5, 3, 23, {"--estimator", "lsq+", "--share-steps"}), "");
}

TEST(LearnedSteps, WhatHasNoStepToLearnAndCheckpointsWithoutStepsAreRefusedInOneLine) {
  const TemporaryFolder folder;
  write_batches(folder / "b", 80, 32, 1);
  const auto expect_refused = [&](const std::vector<std::string>& more) {
    const Outcome refused = run_program(plus(small_run(folder / "b", folder / "no", 4), more));
    EXPECT_EQ(refused.exit_code, 2) << refused.err;
    EXPECT_EQ(std::count(refused.err.begin(), refused.err.end(), '\n'), 1) << refused.err;
  };
  expect_refused({"--estimator", "lsq", "--grid", "gaussian"});
  expect_refused({"--estimator", "lsq", "--gain-lr", "1"});
  expect_refused({"--estimator", "pact", "--scale", "absmax"});
  expect_refused({"--estimator", "trust", "--share-steps"});
  ASSERT_EQ(
      run_program(plus(small_run(folder / "b", folder / "run", 12), {"--estimator", "lsq", "--keep", "20"})).exit_code,
      0);
  const Outcome early =
      run_program({lowbit_program(), "eval", "--model", (folder / "run" / "checkpoints" / "step-0").string(), "--text",
                   (folder / "b").string()});
  EXPECT_EQ(early.exit_code, 2) << early.err;
}

}  // namespace
}  // namespace lowbit::test
