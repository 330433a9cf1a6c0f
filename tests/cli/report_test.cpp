#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "cli/process.h"
#include "study/made_up_run.h"
#include "support/data.h"

namespace lowbit::test {
namespace {

TEST(ReportVerb, WritesAPageOverTheRunsOfAFolder) {
  const TemporaryFolder folder;
  write_run(folder / "s" / "a", {});
  write_run(folder / "s" / "b", {.done = 3});
  const std::string page = (folder / "page.html").string();
  const Outcome outcome =
      run_program({LOWBIT_PROGRAM, "report", (folder / "s").string(), "--out", page, "--title", "Two runs", "--json"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const auto json = nlohmann::json::parse(outcome.out);
  EXPECT_EQ(json.at("runs"), 2);
  EXPECT_EQ(json.at("done"), 1);
  std::ifstream in(page);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  EXPECT_NE(text.find("<title>Two runs</title>"), std::string::npos);
}

TEST(ReportVerb, BadInputIsOneLineAndExitCode2AndNoPage) {
  const TemporaryFolder folder;
  write_run(folder / "a", {});
  std::ofstream(folder / "file") << "x";
  for (const auto& arguments : {std::vector<std::string>{(folder / "none").string()},
                                {(folder / "file").string()},
                                {folder.path().string(), "--hold", "x"},
                                {}}) {
    std::vector<std::string> all{LOWBIT_PROGRAM, "report", "--out", (folder / "page.html").string()};
    all.insert(all.end(), arguments.begin(), arguments.end());
    const Outcome outcome = run_program(all);
    EXPECT_EQ(outcome.exit_code, 2) << outcome.err;
    EXPECT_EQ(line_count(outcome.err), 1) << outcome.err;
    EXPECT_FALSE(std::filesystem::exists(folder / "page.html"));
  }
}

TEST(SweepVerb, AGridThatCannotBeReadIsOneLineAndExitCode2) {
  const TemporaryFolder folder;
  std::ofstream(folder / "s.toml") << "[grid]\nseed = []\n";
  for (const char* file : {"s.toml", "none.toml"}) {
    const Outcome outcome =
        run_program({LOWBIT_PROGRAM, "sweep", "--config", (folder / file).string(), "--out", (folder / "s").string()});
    EXPECT_EQ(outcome.exit_code, 2) << outcome.err;
    EXPECT_EQ(line_count(outcome.err), 1) << outcome.err;
    EXPECT_NE(outcome.err.find(file), std::string::npos) << outcome.err;
  }
}

}  // namespace
}  // namespace lowbit::test
