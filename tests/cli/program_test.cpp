#include <gtest/gtest.h>

#include <filesystem>
#include <sstream>

#include "cli/process.h"

namespace lowbit::test {
namespace {

Outcome lowbit(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), LOWBIT_PROGRAM);
  return run_program(arguments);
}

/// The verbs as `lowbit` alone lists them, without those that are not in this build.
std::vector<std::string> verbs() {
  std::istringstream list(lowbit({}).out);
  std::vector<std::string> names;
  for (std::string line; std::getline(list, line);)
    if (line.starts_with("  ") && line.find("(not in this build)") == std::string::npos) {
      std::istringstream words(line);
      words >> names.emplace_back();
    }
  return names;
}

void expect_one_line(const Outcome& outcome, int exit_code) {
  EXPECT_EQ(outcome.exit_code, exit_code) << outcome.err;
  EXPECT_EQ(outcome.out, "");
  EXPECT_EQ(line_count(outcome.err), 1) << outcome.err;
  EXPECT_TRUE(outcome.err.starts_with("lowbit: ")) << outcome.err;
}

TEST(Program, ListsItsVerbs) {
  const Outcome outcome = lowbit({});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_NE(outcome.out.find("\n  train "), std::string::npos) << outcome.out;
}

TEST(Program, SaysItsVersion) {
  const Outcome outcome = lowbit({"--version"});
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_TRUE(outcome.out.starts_with("lowbit ")) << outcome.out;
  for (const char* part : {"\ncommit  ", "\ncompiler  ", "\nbuild type  ", "\ninstruction sets  scalar", "\nin use  "})
    EXPECT_NE(outcome.out.find(part), std::string::npos) << part << outcome.out;
}

TEST(Program, RefusesAnUnknownVerb) { expect_one_line(lowbit({"trian"}), 2); }

TEST(Program, EveryVerbHasHelp) {
  for (const std::string& verb : verbs()) {
    SCOPED_TRACE(verb);
    const Outcome outcome = lowbit({verb, "--help"});
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_EQ(outcome.err, "");
    EXPECT_NE(outcome.out.find("Usage: lowbit " + verb), std::string::npos) << outcome.out;
  }
}

TEST(Program, EveryVerbRefusesAnUnknownFlag) {
  for (const std::string& verb : verbs()) {
    SCOPED_TRACE(verb);
    const Outcome outcome = lowbit({verb, "--no-such-flag", "1"});
    expect_one_line(outcome, 2);
    EXPECT_NE(outcome.err.find("--no-such-flag"), std::string::npos) << outcome.err;
  }
}

TEST(Program, EveryVerbAsksForWhatItNeeds) {
  for (const std::string& verb : verbs()) {
    SCOPED_TRACE(verb);
    if (verb == "roofline") continue;  // alone it measures this machine
    expect_one_line(lowbit({verb}), 2);
  }
}

TEST(Program, EveryVerbRefusesAConfigThatIsNotThere) {
  for (const std::string& verb : verbs()) {
    SCOPED_TRACE(verb);
    if (verb == "tokenizer") continue;  // its sub-verbs have the flag
    expect_one_line(lowbit({verb, "--config", "/no/such/file.toml"}), 2);
  }
}

}  // namespace
}  // namespace lowbit::test
