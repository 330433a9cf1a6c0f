#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "train/support.h"

// The sweep over the real trainer, and what it asks of it.
namespace lowbit::test {
namespace {

namespace fs = std::filesystem;

TEST(DryRun, SaysWhatARunWouldBeAndMakesNothing) {
  const TemporaryFolder folder;
  write_batches(folder / "b", 16, 32, 1);
  auto arguments = small_run(folder / "b", folder / "run", 4);
  arguments.insert(arguments.end(), {"--dry-run", "--json"});
  const Outcome outcome = run_program(arguments);
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const auto json = nlohmann::json::parse(outcome.out);
  EXPECT_EQ(json.at("steps"), 4);
  EXPECT_GT(json.at("memory_bytes"), 1000000);
  EXPECT_GT(json.at("seconds"), 0);
  EXPECT_TRUE(json.at("held_out"));
  EXPECT_FALSE(fs::exists(folder / "run"));
}

TEST(DryRun, RefusesWhatTrainingWouldRefuse) {
  const TemporaryFolder folder;
  write_batches(folder / "b", 16, 32, 1);
  for (const auto& more :
       {std::vector<std::string>{"--lr", "-1"}, {"--format", "w9a9"}, {"--steps", "400"}, {"--seq", "9999999"}}) {
    auto arguments = small_run(folder / "b", folder / "run", 4);
    arguments.push_back("--dry-run");
    if (more[0] == "--format" || more[0] == "--steps" || more[0] == "--seq") {
      const auto given = std::find(arguments.begin(), arguments.end(), more[0]);
      if (given != arguments.end()) arguments.erase(given, given + 2);
    }
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Outcome outcome = run_program(arguments);
    EXPECT_EQ(outcome.exit_code, 2) << more[0] << outcome.err;
    EXPECT_EQ(line_count(outcome.err), 1) << outcome.err;
    EXPECT_FALSE(fs::exists(folder / "run")) << more[0];
  }
}

/// Cells stopped on the way end as those of a sweep that was left alone: the same losses in results.csv.
TEST(SweepVerb, StoppedAndGoneOnWithItGivesTheLossesOfOneThatWasNot) {
  const TemporaryFolder folder;
  write_batches(folder / "b", 200, 32, 1);
  write_batches(folder / "e", 8, 32, 2);
  std::ofstream(folder / "s.toml") << "[fixed]\nbatches = \"" << (folder / "b").string() << "\"\neval-batches = \""
                                   << (folder / "e").string()
                                   << "\"\nbatch = 2\nseq = 32\nvocab = 64\nlayers = 1\nwidth = 128\nheads = 2\n"
                                   << "steps = 100\n[grid]\nformat = [\"w2a2\", \"bf16\"]\nseed = 1\n";
  const auto sweep = [&](const char* out, int signal = 0) {
    return run_program({lowbit_program(), "sweep", "--config", (folder / "s.toml").string(), "--out",
                        (folder / out).string(), "--jobs", "2"},
                       {}, signal);
  };
  const auto losses = [&](const char* out) {
    std::vector<std::string> all;
    std::ifstream csv(folder / out / "results.csv");
    for (std::string line; std::getline(csv, line);) {
      std::size_t at = 0;
      for (int i = 0; i < 5; ++i) at = line.find(',', at) + (i < 4);  // N,D,format,seed,loss
      all.push_back(line.substr(0, at));
    }
    return all;
  };
  const Outcome whole = sweep("whole");
  ASSERT_EQ(whole.exit_code, 0) << whole.err;
  ASSERT_EQ(losses("whole").size(), 3u);
  const std::vector<std::string> limited{"/usr/bin/timeout",
                                         "-s",
                                         "INT",
                                         "2.5",
                                         lowbit_program(),
                                         "sweep",
                                         "--config",
                                         (folder / "s.toml").string(),
                                         "--out",
                                         (folder / "parts").string(),
                                         "--jobs",
                                         "2"};
  run_program(limited);  // may come to its end, on a fast machine
  const Outcome rest = sweep("parts");
  ASSERT_EQ(rest.exit_code, 0) << rest.err;
  EXPECT_EQ(losses("parts"), losses("whole"));
  EXPECT_EQ(sweep("whole").err, "");  // all is done: nothing starts
}

TEST(SweepVerb, AnImpossibleCellIsOneLineAndExitCode2) {
  const TemporaryFolder folder;
  write_batches(folder / "b", 16, 32, 1);
  std::ofstream(folder / "s.toml")
      << "[fixed]\nbatches = \"" << (folder / "b").string()
      << "\"\nbatch = 2\nseq = 32\nvocab = 64\nlayers = 1\nwidth = 128\nsteps = 4\n[grid]\nheads = [2, 3]\n";
  const Outcome outcome = run_program(
      {lowbit_program(), "sweep", "--config", (folder / "s.toml").string(), "--out", (folder / "s").string()});
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_EQ(line_count(outcome.err), 1) << outcome.err;
  EXPECT_NE(outcome.err.find("heads="), std::string::npos) << outcome.err;
}

}  // namespace
}  // namespace lowbit::test
