#include <gtest/gtest.h>

#include <algorithm>

#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <thread>

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
  EXPECT_EQ(
      kill_and_resume(60, 5, 3, 17,
                      {"--gain-lr", "3", "--damp", "1e-3", "--scale", "mse", "--cage", "10", "--cage-start", "0.5",
                       "--float-start", "0.3", "--final-lr", "0", "--distill", (folder / "teacher").string()}),
      "");
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
  for (const std::vector<std::string>& wrong :
       {std::vector<std::string>{"--lr", "1e-4"}, {"--format", "w2a2"}, {"--seed", "3"}, {"--steps", "5"}}) {
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
  const Outcome outcome =
      run_program(plus({"/usr/bin/timeout", "--foreground", "--preserve-status", "-s", "INT", "1"}, stopped));
  ASSERT_EQ(outcome.exit_code, 130) << outcome.err;
  EXPECT_NE(outcome.err.find("continue with"), std::string::npos) << outcome.err;
  const auto saved = files::newest_complete(folder / "stopped");
  ASSERT_TRUE(saved);
  const Outcome end = run_program(plus(stopped, {"--resume"}));
  EXPECT_EQ(end.exit_code, 0) << end.err;
  EXPECT_NE(end.err.find("resumed  from step " + std::to_string(saved->step)), std::string::npos) << end.err;
  EXPECT_EQ(differing_files(folder / "whole", folder / "stopped", 500), "");
}

/// Starts a run in the background and sends SIGTERM once its metrics hold `steps` steps. returns its exit code and what
/// it wrote to standard error.
Outcome stop_after_steps(const std::vector<std::string>& arguments, const fs::path& run, int steps) {
  const fs::path err = run.parent_path() / "stopped.err";
  const pid_t child = fork();
  if (child == 0) {
    std::vector<char*> argv;
    for (const std::string& a : arguments) argv.push_back(const_cast<char*>(a.c_str()));
    argv.push_back(nullptr);
    if (!std::freopen(err.c_str(), "w", stderr) || !std::freopen("/dev/null", "w", stdout)) _exit(9);
    execv(argv[0], argv.data());
    _exit(127);
  }
  for (int i = 0; i < 6000; ++i) {
    std::error_code none;
    const std::string lines = fs::exists(run / "metrics.jsonl", none) ? bytes_of(run / "metrics.jsonl") : "";
    if (lines.find("\"step\":" + std::to_string(steps)) != std::string::npos) break;
    usleep(2000);
  }
  kill(child, SIGTERM);
  int status = 0;
  waitpid(child, &status, 0);
  Outcome outcome;
  outcome.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  outcome.err = bytes_of(err);
  return outcome;
}

/// metrics.jsonl without what depends on the clock and on the stop.
std::string lasting_metrics(const fs::path& run) {
  std::istringstream lines(bytes_of(run / "metrics.jsonl"));
  std::string kept;
  for (std::string line; std::getline(lines, line);) {
    if (line.find("\"interrupted\"") != std::string::npos || line.find("\"resumed\"") != std::string::npos) continue;
    const std::size_t end = std::min(line.find("\"seconds\""), line.find("\"tok_s\""));
    kept += line.substr(0, end) + "\n";
  }
  return kept;
}

TEST(Resume, AStopInTheMiddleOfAnEvaluationKeepsTheStepsBeforeItAndTheEvaluationIsRepeated) {
  const TemporaryFolder folder;
  write_batches(folder / "b", 64, 32, 1);
  write_batches(folder / "held", 6000, 32, 2);  // many times the work of the steps
  const std::vector<std::string> more{"--threads",          "1",  "--eval-batches", (folder / "held").string(),
                                      "--eval-every",       "4",  "--eval-windows", "6000",
                                      "--checkpoint-every", "100"};
  const auto whole = plus(small_run(folder / "b", folder / "whole", 6), more);
  const auto stopped = plus(small_run(folder / "b", folder / "stopped", 6), more);
  ASSERT_EQ(run_program(whole).exit_code, 0);
  const Outcome outcome = stop_after_steps(stopped, folder / "stopped", 4);
  ASSERT_EQ(outcome.exit_code, 130) << outcome.err;
  const auto saved = files::newest_complete(folder / "stopped");
  ASSERT_TRUE(saved);
  EXPECT_EQ(saved->step, 4) << outcome.err;
  const Outcome end = run_program(plus(stopped, {"--resume"}));
  ASSERT_EQ(end.exit_code, 0) << end.err;
  EXPECT_EQ(differing_files(folder / "whole", folder / "stopped", 6), "");
  EXPECT_EQ(lasting_metrics(folder / "whole"), lasting_metrics(folder / "stopped"));
}

TEST(Resume, AStopInTheLastEvaluationLeavesARunThatEndsWithIt) {
  const TemporaryFolder folder;
  write_batches(folder / "b", 64, 32, 1);
  write_batches(folder / "held", 6000, 32, 2);
  const std::vector<std::string> more{"--threads",    "1",   "--eval-batches",     (folder / "held").string(),
                                      "--eval-every", "100", "--checkpoint-every", "100"};
  const auto arguments = plus(small_run(folder / "b", folder / "run", 6), more);
  const Outcome outcome = stop_after_steps(arguments, folder / "run", 6);
  ASSERT_EQ(outcome.exit_code, 130) << outcome.err;
  EXPECT_EQ(bytes_of(folder / "run" / "metrics.jsonl").find("\"finished\""), std::string::npos);
  const Outcome end = run_program(plus(arguments, {"--resume"}));
  ASSERT_EQ(end.exit_code, 0) << end.err;
  const std::string metrics = bytes_of(folder / "run" / "metrics.jsonl");
  EXPECT_NE(metrics.find("nats_per_token"), std::string::npos);
  EXPECT_NE(metrics.find("\"finished\""), std::string::npos);
}

TEST(Resume, AFinishedRunSaysSoAtOnceAndChangesNothing) {
  const TemporaryFolder folder;
  write_batches(folder / "b", 48, 32, 1);
  const auto arguments = small_run(folder / "b", folder / "run", 12);
  ASSERT_EQ(run_program(arguments).exit_code, 0);
  const std::string metrics = bytes_of(folder / "run" / "metrics.jsonl"), info = bytes_of(folder / "run" / "run.json");
  fs::remove(folder / "b");  // not even the data is looked at
  const Outcome again = run_program(plus(arguments, {"--resume"}));
  EXPECT_EQ(again.exit_code, 0) << again.err;
  EXPECT_NE(again.err.find("all 12 steps are done"), std::string::npos) << again.err;
  EXPECT_EQ(bytes_of(folder / "run" / "metrics.jsonl"), metrics);
  EXPECT_EQ(bytes_of(folder / "run" / "run.json"), info);
}

/// A small file system of its own, where the system lets us mount one.
class SmallDisk {
 public:
  SmallDisk(const fs::path& at, const std::string& size) : at_(at) {
    fs::create_directories(at);
    mounted_ = mount("none", at.c_str(), "tmpfs", 0, ("size=" + size).c_str()) == 0;
  }
  ~SmallDisk() {
    if (mounted_) umount2(at_.c_str(), MNT_DETACH);
  }
  bool mounted() const { return mounted_; }

 private:
  fs::path at_;
  bool mounted_;
};

TEST(Resume, GoesOnOnADiskThatHoldsAsManyCheckpointsAsItKeepsAndOneMore) {
  const TemporaryFolder folder;
  write_batches(folder / "b", 200, 32, 1);
  const auto measure = plus(small_run(folder / "b", folder / "measure", 4), {"--checkpoint-every", "2", "--keep", "1"});
  ASSERT_EQ(run_program(measure).exit_code, 0);
  std::uintmax_t one = files::checkpoint_bytes(folder / "measure");
  const SmallDisk disk(folder / "disk", std::to_string(3 * one + one / 2 + (1 << 20)));
  if (!disk.mounted()) GTEST_SKIP() << "no file system may be mounted here";
  const auto run = plus(small_run(folder / "b", folder / "disk/run", 40), {"--checkpoint-every", "2", "--keep", "2"});
  // Something else fills the disk while it runs.
  std::thread filler([&] {
    while (!files::newest_complete(folder / "disk/run")) usleep(1000);
    std::ofstream(folder / "disk/other") << std::string(2 * one, 'x') << std::flush;
  });
  const Outcome full = run_program(run);
  filler.join();
  EXPECT_EQ(full.exit_code, 1) << full.err;
  EXPECT_NE(full.err.find("No space left"), std::string::npos) << full.err;
  ASSERT_TRUE(files::newest_complete(folder / "disk/run"));
  fs::remove(folder / "disk/other");
  const Outcome again = run_program(plus(run, {"--resume"}));
  EXPECT_EQ(again.exit_code, 0) << again.err;
}

}  // namespace
}  // namespace lowbit::test
