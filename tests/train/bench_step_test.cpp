#include <gtest/gtest.h>

#include <cstdlib>

#include "cli/process.h"
#include "lowbit/files/json.h"
#include "support/data.h"
#include "train/support.h"

namespace lowbit::test {
namespace {

using files::Json;

const std::string kTiny = "64x2x2x1x96x40";

Outcome bench(std::vector<std::string> flags) {
  flags.insert(flags.begin(), {lowbit_program(), "bench", "--train"});
  return run_program(flags);
}

TEST(BenchStep, ToldForEachFormatBackwardAndLengthAsAShareOfTheUnits) {
  const Outcome outcome = bench({"--shape", kTiny, "--format", "w4a4,bf16", "--backward", "bf16,int8", "--seq", "16,32",
                                 "--batch", "4", "--rounds", "2", "--threads", "2", "--output", "json"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const Json json = files::parse_json(outcome.out, "the output");
  ASSERT_EQ(json.at("results").size(), 8u);
  for (const Json& r : json.at("results")) {
    EXPECT_GT(r.at("value").at("lowest").get<double>(), 0) << r;
    EXPECT_GT(r.at("share").at("median").get<double>(), 0) << r;
    EXPECT_LT(r.at("share").at("median").get<double>(), 1) << r;
    EXPECT_EQ(r.at("ceiling").at("name"), "bf16");
    EXPECT_EQ(r.at("threads"), 2);
  }
  EXPECT_EQ(json["results"][0]["what"], "train 4 x 16, bf16");
  EXPECT_EQ(json["results"][3]["what"], "train 4 x 32, int8");
}

TEST(BenchStep, WrongUseIsRefusedInOneLine) {
  const auto expect_refused = [](const std::vector<std::string>& flags, const std::string& says) {
    const Outcome outcome = bench(flags);
    EXPECT_EQ(outcome.exit_code, 2) << outcome.err;
    EXPECT_EQ(line_count(outcome.err), 1) << outcome.err;
    EXPECT_NE(outcome.err.find(says), std::string::npos) << outcome.err;
  };
  expect_refused({"--shape", kTiny, "--backward", "w4"}, "--backward");
  expect_refused({"--shape", kTiny, "--format", "w9a9"}, "w9a9");
  expect_refused({"--shape", kTiny, "--prefill", "3"}, "--prefill");
  expect_refused({"--shape", kTiny, "--batch", "0"}, "--batch");
  expect_refused({}, "--shape");
  expect_refused({"--shape", "llama-1b", "--batch", "100000", "--micro-batch", "100000"}, "are available; choose");
}

}  // namespace
}  // namespace lowbit::test
