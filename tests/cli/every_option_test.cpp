// Every flag of every verb, as the program itself lists them, is given values that it must refuse: in one line that
// names the flag and the value, with exit code 2, and never as something else.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "cli/process.h"
#include "support/data.h"

namespace lowbit::test {
namespace {

struct Flag {
  std::string verb, name, type, allowed;
};

std::vector<std::string> split(const std::string& text, const std::string& by) {
  std::vector<std::string> parts;
  for (std::size_t at = 0;;) {
    const std::size_t end = text.find(by, at);
    parts.push_back(text.substr(at, end == std::string::npos ? end : end - at));
    if (end == std::string::npos) return parts;
    at = end + by.size();
  }
}

/// Rows of the flag reference: | `--batch` | N: 1 to 1048576 | by the recipe | sequences per step |
std::vector<Flag> all_flags() {
  const Outcome reference = run_program({LOWBIT_PROGRAM, "help", "--markdown"});
  EXPECT_EQ(reference.exit_code, 0) << reference.err;
  std::vector<Flag> flags;
  std::string verb;
  std::istringstream lines(reference.out);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("## lowbit ")) verb = line.substr(10);
    if (!line.starts_with("| `--")) continue;
    const std::vector<std::string> cells = split(line, " | ");
    if (cells.size() < 3) continue;
    const std::size_t colon = cells[1].find(": ");
    flags.push_back({verb, cells[0].substr(3, cells[0].find('`', 3) - 3), cells[1].substr(0, colon),
                     colon == std::string::npos ? "" : cells[1].substr(colon + 2)});
  }
  return flags;
}

class EveryOption : public testing::Test {
 protected:
  Outcome run(const Flag& flag, const std::string& value) const {
    std::vector<std::string> arguments = split(flag.verb, " ");
    arguments.insert(arguments.begin(), LOWBIT_PROGRAM);
    arguments.insert(arguments.end(), {flag.name, value});
    // Lists are read when the verb begins, so it must get that far.
    if (flag.type == "LIST" && flag.name != "--shape") arguments.insert(arguments.end(), {"--shape", "64x2x2x1x96x40"});
    if (flag.name == "--rows" && flag.verb == "bench") arguments.push_back("--kernels");
    // A value that is taken must not set the verb to work: flags are read before unknown ones are complained of.
    if (flag.type != "LIST") arguments.push_back("--no-such-flag");
    return run_program(arguments);
  }
  void expect_refused(const Flag& flag, const std::string& value) const {
    SCOPED_TRACE(flag.verb + " " + flag.name + " '" + value + "'");
    const Outcome outcome = run(flag, value);
    EXPECT_EQ(outcome.exit_code, 2) << outcome.err;
    EXPECT_EQ(outcome.out, "");
    EXPECT_EQ(line_count(outcome.err), 1) << outcome.err;
    const std::string shown = value.empty() || value.find(' ') != std::string::npos ? "'" + value + "'" : value;
    EXPECT_TRUE(outcome.err.starts_with("lowbit: " + flag.name + " " + shown + ": ")) << outcome.err;
  }
  /// Whether it is refused by its value alone: a flag that is taken ends in another complaint, for want of the others.
  bool refused(const Flag& flag, const std::string& value) const {
    return run(flag, value).err.starts_with("lowbit: " + flag.name + " " + value + ": ");
  }
};

/// lowbit-train takes a third of a second to start: of its flags with the same kind and range, one is tried with all
/// values.
bool slow(const Flag& flag) {
  return flag.verb == "train" || flag.verb == "diagnose" || flag.verb == "bench --train";
}
bool first_of_kind(std::map<std::string, int>& seen, const Flag& flag) {
  return seen[flag.type + flag.allowed + (slow(flag) ? "slow" : "")]++ == 0;
}

TEST_F(EveryOption, RefusesWhatIsNoNumberOfItsRange) {
  std::map<std::string, int> seen;
  int numbers = 0;
  for (const Flag& flag : all_flags()) {
    if (flag.type != "N" && flag.type != "X") continue;
    ++numbers;
    const bool first = first_of_kind(seen, flag);
    if (slow(flag)) {
      if (first)
        for (const char* value : {"-1", "1e400", "nan"}) expect_refused(flag, value);
      for (const char* name : {"--batch", "--micro-batch", "--seq", "--vocab", "--heads"})
        if (flag.verb == "train" && flag.name == name) expect_refused(flag, "0");
      continue;
    }
    expect_refused(flag, "-1");
    const bool unlimited =
        flag.name == "--clip" || flag.name == "--flops" || flag.name == "--memory" || flag.name == "--fit-below";
    expect_refused(flag, unlimited ? "1e400" : "18446744073709551616");
    if (first)
      for (const char* value :
           {"nan", "inf", "-inf", "", "abc", "1e400", "-1e400", "0x10", "1,000", "1__0", "1 0", "--1"})
        expect_refused(flag, value);
    if (flag.type != "N") continue;
    // The range that help shows is the range that holds.
    const std::vector<std::string> ends =
        split(flag.allowed, flag.allowed.find(" to ") == std::string::npos ? " or " : " to ");
    ASSERT_EQ(ends.size(), 2u) << flag.allowed;
    const long lowest = std::stol(ends[0]);
    if (lowest > 0) expect_refused(flag, "0");
    if (!first) continue;
    expect_refused(flag, "0.5");
    EXPECT_FALSE(refused(flag, ends[0])) << flag.verb << flag.name;
    if (ends[1].find_first_not_of("0123456789") != std::string::npos) continue;
    expect_refused(flag, std::to_string(std::stol(ends[1]) + 1));
    EXPECT_FALSE(refused(flag, ends[1])) << flag.verb << flag.name;
  }
  EXPECT_GT(numbers, 30);
}

TEST_F(EveryOption, RefusesListsWithWhatIsNoNumberOfTheirRange) {
  int lists = 0;
  for (const Flag& flag : all_flags()) {
    if (flag.type != "LIST" || flag.allowed.empty()) continue;
    ++lists;
    if (flag.verb == "bench --train") {
      expect_refused(flag, "-1");
      continue;
    }
    for (const char* value : {"-1", "18446744073709551616", "nan", "abc", "2.5", "1e400"}) expect_refused(flag, value);
  }
  EXPECT_GT(lists, 5);
}

TEST_F(EveryOption, RefusesWordsThatItDoesNotKnowAndListsThoseItDoes) {
  int words = 0;
  for (const Flag& flag : all_flags()) {
    if (flag.type != "WORD") continue;
    ++words;
    if (!slow(flag))
      for (const char* value : {"", "-1"}) expect_refused(flag, value);
    if (slow(flag) && words % 4 != 0) continue;
    expect_refused(flag, "no-such-word");
    if (slow(flag)) continue;
    EXPECT_NE(run(flag, "no-such-word").err.find("choose " + flag.allowed), std::string::npos);
  }
  EXPECT_GT(words, 8);
}

TEST_F(EveryOption, RefusesAnEmptyPath) {
  int paths = 0;
  for (const Flag& flag : all_flags()) {
    if (flag.type != "DIR" && flag.type != "FILE" && flag.type != "PATH") continue;
    if (flag.name == "--config") continue;
    ++paths;
    if (!slow(flag) || paths % 4 == 0) expect_refused(flag, "");
  }
  EXPECT_GT(paths, 20);
}

TEST_F(EveryOption, RefusesBadNumbersOfAConfigFileByFileAndLine) {
  const TemporaryFolder folder;
  const std::string file = (folder / "flags.toml").string();
  for (const Flag& flag : all_flags()) {
    if ((flag.type != "N" && flag.type != "X") || flag.verb == "sweep" || flag.verb == "bench --train") continue;
    if (slow(flag) && flag.name != "--batch" && flag.name != "--lr") continue;
    const std::string key = flag.name.substr(2);
    for (const char* value : {"-1", "\"abc\"", "nan"}) {
      std::ofstream(file) << "# flags\n" << key << " = " << value << "\n";
      std::vector<std::string> arguments = split(flag.verb, " ");
      arguments.insert(arguments.begin(), LOWBIT_PROGRAM);
      arguments.insert(arguments.end(), {"--config", file});
      const Outcome outcome = run_program(arguments);
      EXPECT_EQ(outcome.exit_code, 2) << outcome.err;
      EXPECT_TRUE(outcome.err.starts_with("lowbit: " + file + ":2: " + key + " = ")) << outcome.err;
    }
  }
}

TEST_F(EveryOption, FitsIn100ColumnsAndIsTheSameByHelpAndByFlag) {
  std::vector<std::string> verbs;
  for (const Flag& flag : all_flags())
    if (verbs.empty() || verbs.back() != flag.verb) verbs.push_back(flag.verb);
  ASSERT_GT(verbs.size(), 12u);
  for (const std::string& verb : verbs) {
    SCOPED_TRACE(verb);
    std::vector<std::string> by_flag = split(verb, " "), by_verb = by_flag;
    by_flag.push_back("--help");
    by_flag.insert(by_flag.begin(), LOWBIT_PROGRAM);
    by_verb.insert(by_verb.begin(), {LOWBIT_PROGRAM, "help"});
    const Outcome help = run_program(by_flag);
    EXPECT_EQ(help.exit_code, 0) << help.err;
    EXPECT_EQ(help.out, run_program(by_verb).out);
    std::istringstream lines(help.out);
    for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 100u) << line;
  }
}

}  // namespace
}  // namespace lowbit::test
