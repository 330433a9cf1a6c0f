#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "cli/process.h"
#include "support/data.h"

namespace lowbit::test {
namespace {

const std::string kPublished = LOWBIT_LAWS_DATA "/quest_main.csv";

Outcome fit(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), {LOWBIT_PROGRAM, "fit", "--in"});
  return run_program(arguments);
}

TEST(FitVerb, JsonHoldsTheConstantsEffByFormatAndIntervals) {
  const Outcome outcome =
      fit({kPublished, "--hold", "B=86.411906", "--hold", "beta=0.2412884", "--fix-E", "0.0014233", "--bootstrap", "20",
           "--predict", "1.6B,160B,W4A4", "--memory", "1.6G", "--flops", "3e19", "--json"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const auto json = nlohmann::json::parse(outcome.out);
  EXPECT_EQ(json.at("law"), "efficiency");
  EXPECT_NEAR(json.at("alpha"), 0.0627265, 0.001);
  EXPECT_NEAR(json.at("B"), 86.411906, 1e-9);
  EXPECT_NEAR(json.at("eff").at("W4A4"), 0.6918, 0.03);
  EXPECT_EQ(json.at("eff").at("BF16"), 1);
  EXPECT_GT(json.at("A"), 0);
  EXPECT_LT(json.at("rms"), 0.02);
  EXPECT_LT(json.at("intervals").at("eff").at("W4A4")[0], json.at("intervals").at("eff").at("W4A4")[1]);
  EXPECT_TRUE(json.at("intervals").at("beta").is_null());  // it is held
  EXPECT_TRUE(json.at("identified").at("alpha"));
  EXPECT_EQ(json.at("runs").size(), 80u);
  EXPECT_NEAR(json.at("predictions")[0].at("loss"), 2.3766, 0.02);
  EXPECT_FALSE(json.at("budget").at("crossings").empty());
  EXPECT_EQ(json.at("budget").at("choices").size(), 17u);
}

TEST(FitVerb, SaysInWordsWhatTheRunsDoNotTell) {
  const Outcome outcome = fit({kPublished, "--bootstrap", "0"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_NE(outcome.out.find("beta is not identifiable from these runs"), std::string::npos) << outcome.out;
  const auto json = nlohmann::json::parse(fit({kPublished, "--bootstrap", "0", "--json"}).out);
  EXPECT_FALSE(json.at("identified").at("beta"));
}

TEST(FitVerb, HeldOutRunsAreForetold) {
  const Outcome outcome = fit({kPublished, "--law", "additive", "--fit-below", "300M", "--bootstrap", "0", "--json"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_LT(nlohmann::json::parse(outcome.out).at("held_out_rms"), 0.03);
}

TEST(FitVerb, BadInputIsOneLineAndExitCode2) {
  const TemporaryFolder folder;
  const auto refuse = [&](const std::string& csv, std::vector<std::string> flags, const std::string& part) {
    const std::string path = (folder / "runs.csv").string();
    std::ofstream(path) << csv;
    flags.insert(flags.begin(), path);
    const Outcome outcome = fit(flags);
    EXPECT_EQ(outcome.exit_code, 2) << outcome.err;
    EXPECT_EQ(outcome.out, "");
    EXPECT_EQ(line_count(outcome.err), 1) << outcome.err;
    EXPECT_NE(outcome.err.find(part), std::string::npos) << outcome.err;
  };
  refuse("N,D,format\n", {}, "no column 'loss'");
  refuse("N,D,format,loss\n1M,1M,bf16,nan\n", {}, "loss is 'nan'");
  refuse("N,D,format,loss\n1M,1M,bf16,3\n2M,3M,bf16,2.9\n", {}, "2 runs cannot tell 5 constants");
  refuse("N,D,format,loss\n1M,1M,bf16,3\n1M,2M,bf16,2.9\n", {}, "N = 1e+06");
  refuse("N,D,format,loss\n1M,1M,bf16,3\n", {"--hold", "alpha"}, "--hold 'alpha'");
  refuse("N,D,format,loss\n1M,1M,bf16,3\n", {"--predict", "1M"}, "--predict '1M'");
  refuse("N,D,format,loss\n1M,1M,bf16,3\n", {"--law", "best"},
         "--law best: unknown; choose efficiency, additive, bits");
  refuse("N,D,format,loss\n1M,1M,bf16,3\n", {"--flops", "1e9"}, "--memory");
}

}  // namespace
}  // namespace lowbit::test
