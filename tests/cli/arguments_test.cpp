#include "lowbit/cli/arguments.h"

#include <gtest/gtest.h>

namespace lowbit::cli {
namespace {

TEST(Nearest, FindsOneMisspelling) {
  const std::vector<std::string> names{"tokenizer", "data", "train", "eval", "run"};
  EXPECT_EQ(nearest("trian", names), "train");
  EXPECT_EQ(nearest("tokeniser", names), "tokenizer");
  EXPECT_EQ(nearest("tok", names), "tokenizer");
  EXPECT_EQ(nearest("dat", names), "data");
}

TEST(Nearest, SaysNothingRatherThanAnything) {
  const std::vector<std::string> names{"tokenizer", "data", "train", "transform"};
  EXPECT_EQ(nearest("xyzzy", names), "");
  EXPECT_EQ(nearest("tra", names), "");  // two begin so
  EXPECT_EQ(nearest("", names), "");
}

struct Parser {
  CLI::App app;
  std::vector<std::string> in;
  std::string prompt;
  bool json = false;
  Parser() {
    app.add_option("--in", in, "");
    app.add_option("--prompt", prompt, "");
    app.add_flag("--json", json, "");
  }
};

TEST(GivenFlags, StepsOverValuesThatLookLikeFlags) {
  Parser p;
  const std::vector<std::string> arguments{"--prompt", "--json", "--in=a", "--other", "--", "--in"};
  const std::set<std::string> expected{"prompt", "in", "other"};
  EXPECT_EQ(given_flags(p.app, arguments), expected);
}

TEST(ValueOf, TakesTheLastOfBothForms) {
  Parser p;
  const std::vector<std::string> arguments{"--prompt", "a", "--prompt=b c"};
  EXPECT_EQ(value_of(p.app, arguments, "prompt"), "b c");
  EXPECT_EQ(value_of(p.app, arguments, "in"), "");
}

}  // namespace
}  // namespace lowbit::cli
