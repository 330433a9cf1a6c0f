#include <gtest/gtest.h>

#include <algorithm>

#include <signal.h>

#include "lowbit/files/checkpoint.h"
#include "train/support.h"

namespace lowbit::test {
namespace {

namespace fs = std::filesystem;

TEST(Resume, FiveKillsLeaveTheBytesOfTheUninterruptedRun) { EXPECT_EQ(kill_and_resume(60, 5, 5, 7), ""); }

TEST(Resume, ThreeKillsLeaveTheBytesOfTheUninterruptedRunWithInt8Gradients) {
  EXPECT_EQ(kill_and_resume(60, 5, 3, 13, {"--backward", "int8"}), "");
}

TEST(Resume, ThreeKillsLeaveTheBytesOfTheUninterruptedRunWithEverythingThatRecipesAdd) {
  const TemporaryFolder folder;
  write_batches(folder / "b", 48, 32, 1);
  ASSERT_EQ(run_program(with_format(small_run(folder / "b", folder / "teacher", 12), "bf16")).exit_code, 0);
  EXPECT_EQ(kill_and_resume(60, 5, 3, 17, {"--gain-lr", "3", "--damp", "1e-3", "--scale", "mse", "--cage", "10", "--cage-start", "0.5", "--float-start", "0.3", "--final-lr",
                                           "0", "--distill", (folder / "teacher").string()}), "");
}

TEST(Resume, AnotherNumberOfThreadsGivesTheSameBytes) {
  for (const char* backward : {"bf16", "int8"}) {
    const TemporaryFolder folder;
    write_batches(folder / "b", 48, 32, 1);
    for (const char* threads : {"1", "2", "3"}) {
      const Outcome run = run_program(
          plus(small_run(folder / "b", folder / threads, 12), {"--threads", threads, "--backward", backward}));
      ASSERT_EQ(run.exit_code, 0) << run.err;
    }
    EXPECT_EQ(differing_files(folder / "1", folder / "2", 12), "") << backward;
    EXPECT_EQ(differing_files(folder / "1", folder / "3", 12), "") << backward;
  }
}

TEST(Resume, StochasticRoundingGoesOnToTheSameBytesFromAnOlderCheckpoint) {
  const TemporaryFolder folder;
  write_batches(folder / "b", 48, 32, 1);
  const auto run = [&](const char* name, std::vector<std::string> more) {
    more.insert(more.end(), {"--backward", "int8", "--checkpoint-every", "5", "--keep", "3"});
    const Outcome outcome = run_program(plus(small_run(folder / "b", folder / name, 12), more));
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  };
  run("whole", {});
  run("again", {"--threads", "2"});
  EXPECT_EQ(differing_files(folder / "whole", folder / "again", 12), "");
  fs::remove_all(folder / "again" / "checkpoints" / "step-12");
  fs::remove_all(folder / "again" / "checkpoints" / "step-10");
  run("again", {"--threads", "1", "--resume"});
  EXPECT_EQ(differing_files(folder / "whole", folder / "again", 12), "");
  const Outcome refused =
      run_program(plus(small_run(folder / "b", folder / "again", 14), {"--resume", "--backward", "bf16"}));
  EXPECT_EQ(refused.exit_code, 2) << refused.err;
}

TEST(Recompute, GivesTheSameBytesForFormatsThatKeepCodesAndForThoseThatKeepTheirInputs) {
  const TemporaryFolder folder;
  write_batches(folder / "b", 48, 32, 1);
  using Case = std::pair<std::string, std::string>;
  for (const auto& [format, backward] : {Case{"w4a4", "bf16"}, {"w4a4", "int8"}, {"w3a16", "bf16"}, {"bf16", "bf16"}}) {
    const fs::path kept = folder / (format + backward + "-kept"), again = folder / (format + backward + "-again");
    for (const bool recompute : {false, true}) {
      auto arguments = with_format(small_run(folder / "b", recompute ? again : kept, 12), format);
      arguments.insert(arguments.end(), {"--backward", backward});
      if (recompute) arguments.push_back("--recompute");
      const Outcome run = run_program(arguments);
      ASSERT_EQ(run.exit_code, 0) << run.err;
    }
    EXPECT_EQ(differing_files(kept, again, 12), "") << format << " " << backward;
  }
}

TEST(Resume, GoesOnFromTheOlderCheckpointWhenAByteOfTheNewestIsChanged) {
  const TemporaryFolder folder;
  write_batches(folder / "b", 48, 32, 1);
  const auto arguments = plus(small_run(folder / "b", folder / "run", 12), {"--checkpoint-every", "4", "--keep", "3"});
  ASSERT_EQ(run_program(arguments).exit_code, 0);
  const fs::path weights = folder / "run" / "checkpoints" / "step-12" / "model.safetensors";
  const std::string before = bytes_of(weights);
  {
    FILE* file = std::fopen(weights.c_str(), "r+b");
    ASSERT_NE(file, nullptr);
    std::fseek(file, -3, SEEK_END);
    std::fputc(before[before.size() - 3] ^ 1, file);
    std::fclose(file);
  }
  const Outcome again = run_program(plus(arguments, {"--resume"}));
  EXPECT_EQ(again.exit_code, 0) << again.err;
  EXPECT_NE(again.err.find("resumed  from step 8"), std::string::npos) << again.err;
  EXPECT_TRUE(bytes_of(weights) == before) << "the step that was done again has other weights";
}

TEST(Resume, MoreStepsExtendAFinishedRunAndOtherFlagsCannotChange) {
  const TemporaryFolder folder;
  write_batches(folder / "b", 80, 32, 1);
  ASSERT_EQ(run_program(small_run(folder / "b", folder / "run", 12)).exit_code, 0);
  const std::vector<std::string> resume{train_program(), "train", "--resume", "--out", (folder / "run").string()};
  const Outcome longer = run_program(plus(resume, {"--steps", "20"}));
  EXPECT_EQ(longer.exit_code, 0) << longer.err;
  EXPECT_TRUE(fs::exists(folder / "run" / "checkpoints" / "step-20"));
  for (const std::vector<std::string>& wrong : {std::vector<std::string>{"--lr", "1e-4"}, {"--format", "w2a2"}, {"--seed", "3"}, {"--steps", "5"}}) {
    const Outcome refused = run_program(plus(resume, wrong));
    EXPECT_EQ(refused.exit_code, 2) << wrong[0];
    EXPECT_EQ(line_count(refused.err), 1) << refused.err;
  }
}

TEST(Resume, CtrlCSavesAndStopsWith130AndTheRunGoesOnToTheSameBytes) {
  const TemporaryFolder folder;
  write_batches(folder / "b", 2000, 32, 1);
  const auto whole = plus(small_run(folder / "b", folder / "whole", 500), {"--threads", "1"});
  const auto stopped = plus(small_run(folder / "b", folder / "stopped", 500), {"--threads", "1"});
  ASSERT_EQ(run_program(whole).exit_code, 0);
  // `timeout` sends SIGINT as a terminal would.
  const Outcome outcome = run_program(plus({"/usr/bin/timeout", "--foreground", "--preserve-status", "-s", "INT", "1"}, stopped));
  ASSERT_EQ(outcome.exit_code, 130) << outcome.err;
  EXPECT_NE(outcome.err.find("go on with"), std::string::npos) << outcome.err;
  const auto saved = files::newest_complete(folder / "stopped");
  ASSERT_TRUE(saved);
  const Outcome end = run_program(plus(stopped, {"--resume"}));
  EXPECT_EQ(end.exit_code, 0) << end.err;
  EXPECT_NE(end.err.find("resumed  from step " + std::to_string(saved->step)), std::string::npos) << end.err;
  EXPECT_EQ(differing_files(folder / "whole", folder / "stopped", 500), "");
}

}  // namespace
}  // namespace lowbit::test
