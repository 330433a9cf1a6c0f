#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <fstream>

#include "cli/process.h"
#include "support/data.h"

namespace lowbit::test {
namespace {

Outcome sample(std::vector<std::string> arguments, const std::string& stdout_path = {}, int signal = 0) {
  arguments.insert(arguments.begin(), LOWBIT_SAMPLE);
  return run_program(arguments, stdout_path, signal);
}

/// What every refusal looks like: nothing on standard output, one line on standard error that holds `part`.
void expect_line(const Outcome& outcome, int exit_code, const std::string& part) {
  EXPECT_EQ(outcome.exit_code, exit_code) << outcome.err;
  EXPECT_EQ(outcome.out, "");
  EXPECT_EQ(line_count(outcome.err), 1) << outcome.err;
  EXPECT_TRUE(outcome.err.starts_with("lowbit: ")) << outcome.err;
  EXPECT_NE(outcome.err.find(part), std::string::npos) << outcome.err;
}

struct ConfigFile {
  TemporaryFolder folder;
  std::string path = (folder / "run.toml").string();
  explicit ConfigFile(const std::string& text) { std::ofstream(path) << text; }
};

TEST(Frame, ListsVerbsWhenGivenNone) {
  const Outcome outcome = sample({});
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_EQ(outcome.err, "");
  for (const char* part : {"print", "has verbs of its own", "train", "not in this build"})
    EXPECT_NE(outcome.out.find(part), std::string::npos) << part;
}

TEST(Frame, HelpShowsFlagsWithDefaults) {
  const Outcome outcome = sample({"print", "--help"});
  EXPECT_EQ(outcome.exit_code, 0);
  for (const char* part : {"Usage: lowbit print [flags]\n", "--tokens N", "(1 to 1000000; default: 10)",
                           "how many tokens", "--config", "texts to read (required)"})
    EXPECT_NE(outcome.out.find(part), std::string::npos) << part << "\n" << outcome.out;
}

TEST(Frame, HelpOfANestedVerbIsItsOwn) {
  const Outcome outcome = sample({"nested", "make", "--help"});
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_NE(outcome.out.find("Usage: lowbit nested make [flags]\n"), std::string::npos) << outcome.out;
  EXPECT_NE(outcome.out.find("--out"), std::string::npos);
}

TEST(Frame, PassesFlagsToTheVerb) {
  const Outcome outcome = sample({"print", "--in", "a", "b", "--tokens", "7", "--loud", "--rate", "-1.5"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "in=a,b name=none tokens=7 rate=-1.5 loud=true threads>0=true json=false\n");
}

TEST(Frame, RefusesWrongUseInOneLine) {
  expect_line(sample({"prnit"}), 2, "did you mean 'print'?");
  expect_line(sample({"--loud"}), 2, "write the verb first");
  expect_line(sample({"print"}), 2, "needs --in");
  expect_line(sample({"print", "--inn", "a"}), 2, "no flag --inn (did you mean '--in'?)");
  expect_line(sample({"print", "--in", "a", "-x"}), 2, "no flag -x");
  expect_line(sample({"print", "--in"}), 2, "--in");
  expect_line(sample({"print", "--in", "a", "--tokens", "many"}), 2, "--tokens");
  expect_line(sample({"print", "--in", "a", "--tokens", "1000001"}), 2,
              "--tokens 1000001: choose a whole number from 1 to 1000000");
  expect_line(sample({"print", "--in", "a", "--tokens", "5", "--tokens", "6"}), 2, "--tokens");
  expect_line(sample({"print", "--in", "a", "--threads", "-1"}), 2, "--threads");
  expect_line(sample({"print", "--in", "a", "--isa", "mmx"}), 2, "mmx");
  expect_line(sample({"print", "stray", "--in", "a"}), 2, "'stray'");
  expect_line(sample({"nested"}), 2, "needs one of: make, show");
  expect_line(sample({"nested", "mkae"}), 2, "did you mean 'make'?");
  expect_line(sample({"nested", "make"}), 2, "'lowbit nested make' needs --out");
  expect_line(sample({"nested", "make", "--uot", "x"}), 2, "did you mean '--out'?");
}

TEST(Frame, ReadsNumbersAsPeopleWriteThem) {
  const Outcome outcome = sample({"print", "--in", "a", "--tokens", "0.5M", "--steps=64k", "--memory", "1.6G", "--seed",
                                  "18446744073709551615", "--rate", "1e-3", "--shade", "blue", "--all"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_NE(outcome.out.find("tokens=500000 rate=0.001 "), std::string::npos) << outcome.out;
  EXPECT_NE(outcome.out.find("steps=64000 memory=1600000000 shade=blue seed=18446744073709551615\n"), std::string::npos)
      << outcome.out;
}

TEST(Frame, NamesFlagValueAndRange) {
  const auto refuse = [](std::vector<std::string> words, const std::string& line) {
    words.insert(words.begin(), {"print", "--in", "a"});
    expect_line(sample(words), 2, "lowbit: " + line + "\n");
  };
  refuse({"--tokens", "0"}, "--tokens 0: choose a whole number from 1 to 1000000");
  refuse({"--tokens", "2.5"}, "--tokens 2.5: not a whole number; choose a whole number from 1 to 1000000");
  refuse({"--tokens="},
         "--tokens '': no number is given; choose a whole number from 1 to 1000000 (such as 500, 64k or 2.5M)");
  refuse({"--steps", "1e400"}, "--steps 1e400: choose a whole number from 1 to 10^15");
  refuse({"--seed", "-1"}, "--seed -1: choose a whole number from 0 to 18446744073709551615");
  refuse({"--seed", "18446744073709551616"},
         "--seed 18446744073709551616: choose a whole number from 0 to 18446744073709551615");
  refuse({"--rate", "-2"}, "--rate -2: choose a number above -2 and at most 10");
  refuse({"--rate", "nan"}, "--rate nan: not a finite number; choose a number above -2 and at most 10");
  refuse({"--memory", "-1G"}, "--memory -1G: choose a number above 0, such as 30M or 3e7");
  refuse({"--shade", "gren"}, "--shade gren: unknown (did you mean 'green'?); choose red, green, blue");
  refuse({"--path", ""}, "--path '': the path is empty; name a file or folder");
  refuse({"--tokens"}, "--tokens needs a value; 'lowbit print --help' says which");
  refuse({"--tokens", "--seed", "5"},
         "--tokens needs a value, but the flag --seed follows (if --seed is the value, write --tokens=--seed)");
  refuse({"--tokens", "5", "--tokens=6"}, "--tokens is given twice, with 5 and 6; give it once");
  refuse({"--loud=maybe"}, "--loud maybe: a switch takes no value, or true or false");
  refuse({"--loud", "--quiet"}, "'lowbit print' was given both --loud=true and --quiet=true; give one of them");
  refuse({"-tokens", "5"},
         "'lowbit print' has no flag -tokens (did you mean '--tokens'?); 'lowbit print --help' lists the flags");
}

TEST(Frame, AValueAfterTheEqualsSignMayLookLikeAFlag) {
  const Outcome outcome = sample({"print", "--in", "a", "--name=--loud"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_NE(outcome.out.find("name=--loud tokens=10 rate=0.5 loud=false"), std::string::npos) << outcome.out;
}

TEST(Frame, WarnsOfMoreThreadsThanAreGranted) {
  const Outcome outcome = sample({"print", "--in", "a", "--threads", "1024"});
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_EQ(line_count(outcome.err), 1);
  EXPECT_TRUE(outcome.err.starts_with("lowbit: warning: 1024 threads for ")) << outcome.err;
  EXPECT_EQ(sample({"print", "--in", "a", "--threads", "1"}).err, "");
}

TEST(Frame, TurnsErrorsIntoTheirExitCodes) {
  expect_line(sample({"fail", "usage"}), 2, "used wrongly");
  expect_line(sample({"fail", "input"}), 2, "file 'a b' is bad");  // one line, whatever the name holds
  expect_line(sample({"fail", "failed"}), 1, "disk is full");
  expect_line(sample({"fail", "memory"}), 1, "out of memory");
  expect_line(sample({"fail", "other"}), 1, "a bug");
}

TEST(Frame, StopsOnInterruptWith130) {
  for (const int signal : {SIGINT, SIGTERM}) {
    Outcome outcome = sample({"fail", "interrupt"}, {}, signal);
    EXPECT_EQ(outcome.out, "working\n");
    outcome.out.clear();
    expect_line(outcome, 130, "repeat the command to go on");
  }
}

TEST(Frame, AFullDiskBehindTheOutputIsAFailure) {
  const Outcome outcome = sample({"print", "--in", "a"}, "/dev/full");
  expect_line(outcome, 1, "No space left on device");
}

TEST(Frame, SaysThatTrainingWasNotBuilt) { expect_line(sample({"train", "--data", "d"}), 2, "built without training"); }

TEST(Frame, HandsOverToTheSecondProgramBesideIt) {
  const TemporaryFolder folder;
  std::filesystem::copy_file(LOWBIT_SAMPLE, folder / "lowbit");
  const auto second = folder / "lowbit-train";
  std::ofstream(second) << "#!/bin/sh\nfor word; do echo \"[$word]\"; done\nexit 7\n";
  std::filesystem::permissions(second, std::filesystem::perms::owner_all);
  const std::string program = (folder / "lowbit").string();
  const Outcome train = run_program({program, "train", "--data", "a b", ""});
  EXPECT_EQ(train.exit_code, 7);
  EXPECT_EQ(train.out, "[train]\n[--data]\n[a b]\n[]\n");
  // A verb that both have goes over only when the training engine is asked for, on the command line or in a file.
  EXPECT_EQ(run_program({program, "engine", "--engine", "train"}).out, "[engine]\n[--engine]\n[train]\n");
  EXPECT_EQ(run_program({program, "engine", "--engine=run"}).out, "engine run\n");
  EXPECT_EQ(run_program({program, "engine"}).out, "engine run\n");
  const ConfigFile file("engine = 'train'\n");
  EXPECT_EQ(run_program({program, "engine", "--config", file.path}).exit_code, 7);
}

TEST(Config, GivesFlagsThatAreNotOnTheCommandLine) {
  const ConfigFile file("in = ['a b', 'c']\ntokens = 20\nrate = 1e-3\nloud = true\nname = ''\njson = false\n");
  const Outcome outcome = sample({"print", "--config", file.path, "--tokens", "30"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "in=a b,c name= tokens=30 rate=0.001 loud=true threads>0=true json=false\n");
}

TEST(Config, ReachesNestedVerbs) {
  const ConfigFile file("out = 'here'\n");
  const Outcome outcome = sample({"nested", "make", "--config=" + file.path});
  EXPECT_EQ(outcome.out, "made here\n") << outcome.err;
}

TEST(Config, RefusesUnknownKeysWithFileAndLine) {
  const ConfigFile file("in = 'a'\n\ntokns = 20\n");
  expect_line(sample({"print", "--config", file.path}), 2,
              "run.toml:3: 'tokns' is no flag of 'lowbit print' (did you mean 'tokens'?)");
}

TEST(Config, RefusesWhatNoFlagTakes) {
  const std::pair<const char*, const char*> cases[] = {
      {"in = 'a'\ntokens = [1, 2]\n", "run.toml:2: 'tokens' takes one value"},
      {"in = 'a'\n[tokens]\nx = 1\n", "is a table"},
      {"in = 'a'\nname = 2020-01-01\n", "run.toml:2"},
      {"in = 'a'\nloud = 'yes'\n", "'loud' is a switch"},
      {"in = 'a'\ntokens = 5000000\n", "run.toml:2: tokens = 5000000: choose a whole number from 1 to 1000000"},
      {"in = 'a'\ntokens = \n", "run.toml:2: no valid TOML"},
      {"in = 'a'\nin = 'b'\n", "run.toml:2: no valid TOML"},
      {"in = 'a'\nconfig = 'other.toml'\n", "'config' is no flag"},
  };
  for (const auto& [text, part] : cases) {
    const ConfigFile file(text);
    SCOPED_TRACE(text);
    expect_line(sample({"print", "--config", file.path}), 2, part);
  }
}

TEST(Config, RefusesAFileThatCannotBeRead) {
  const TemporaryFolder folder;
  expect_line(sample({"print", "--in", "a", "--config", (folder / "none.toml").string()}), 2, "No such file");
  expect_line(sample({"print", "--in", "a", "--config", folder.path().string()}), 2, "is a folder");
}

}  // namespace
}  // namespace lowbit::test
