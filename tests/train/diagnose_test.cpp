#include <gtest/gtest.h>

#include <algorithm>

#include "lowbit/files/json.h"
#include "train/support.h"

namespace lowbit::test {
namespace {

namespace fs = std::filesystem;

files::Json diagnose(const fs::path& model, const fs::path& batches, const std::vector<std::string>& more) {
  const Outcome outcome = run_program(plus(
      {lowbit_program(), "diagnose", "--json", "--model", model.string(), "--batches", batches.string(), "--windows", "8"}, more));
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  return files::parse_json(outcome.out, "the output");
}

TEST(Diagnose, GradientsAlignBetterTheMoreBitsAndErrorsOfFreshWeightsAreThoseOfANormalVariable) {
  const TemporaryFolder folder;
  write_batches(folder / "b", 80, 32, 1);
  double before = 0;
  for (const char* format : {"w1a1", "w2a2", "w8a8"}) {
    const fs::path run = folder / format;
    ASSERT_EQ(run_program(plus(with_format(small_run(folder / "b", run, 12), format), {"--keep", "20"})).exit_code, 0);
    const files::Json d = diagnose(run / "checkpoints" / "step-0", folder / "b", {"--against", "bf16"});
    EXPECT_EQ(d["format"], format);
    ASSERT_EQ(d["blocks"].size(), 2u);
    const double cosine = d["blocks"][0]["cosine"];
    EXPECT_GT(cosine, before) << format;
    EXPECT_LE(cosine, 1 + 1e-9);
    before = cosine;
    ASSERT_EQ(d["layers"].size(), 14u);
    for (const auto& layer : d["layers"]) {
      const double error = layer["weight"]["error"], normal = layer["weight"]["normal_error"];
      // Rows of 64 values under their own RMS have thinner tails, which at 8 bits are most of the error.
      EXPECT_NEAR(error / normal, 1, format == std::string("w8a8") ? 0.25 : 0.1) << format << " " << layer["name"];
      const double masked = layer["weight"]["masked"], expected = layer["weight"]["normal_masked"];
      EXPECT_NEAR(masked, expected, 0.02) << format << " " << layer["name"];
      EXPECT_TRUE(layer["input"].is_object());
    }
  }
  EXPECT_GT(before, 0.99);
}

TEST(Diagnose, NothingChangesBetweenACheckpointAndItselfAndSomethingFromAnEarlierOne) {
  const TemporaryFolder folder;
  write_batches(folder / "b", 80, 32, 1);
  const auto run = with_format(small_run(folder / "b", folder / "run", 12), "w1a1");
  ASSERT_EQ(run_program(plus(run, {"--checkpoint-every", "4", "--keep", "3"})).exit_code, 0);
  const fs::path last = folder / "run" / "checkpoints" / "step-12", first = folder / "run" / "checkpoints" / "step-4";
  for (const auto& c : diagnose(folder / "run", folder / "b", {"--earlier", last.string()})["changes"]) {
    EXPECT_EQ(c["still_masked"], 1.0);
    EXPECT_EQ(c["codes_changed"], 0.0);
    EXPECT_EQ(c["masked_before"], c["masked_now"]);
  }
  const files::Json since = diagnose(folder / "run", folder / "b", {"--earlier", first.string()})["changes"];
  ASSERT_EQ(since.size(), 14u);
  for (const auto& c : since) {
    EXPECT_GT(c["codes_changed"].get<double>(), 0);
    EXPECT_LT(c["codes_changed"].get<double>(), 0.5);
    EXPECT_LT(c["still_masked"].get<double>(), 1);
  }
}

TEST(Diagnose, RefusesWhatHasNoCodesOrNoSuchWindowsInOneLine) {
  const TemporaryFolder folder;
  write_batches(folder / "b", 80, 32, 1);
  ASSERT_EQ(run_program(with_format(small_run(folder / "b", folder / "run", 4), "bf16")).exit_code, 0);
  const std::vector<std::string> base{lowbit_program(), "diagnose", "--model", (folder / "run").string()};
  for (const std::vector<std::string>& more :
       {std::vector<std::string>{"--batches", (folder / "b").string()}, {}, {"--batches", (folder / "b").string(), "--against", "w4"},
        {"--batches", (folder / "b").string(), "--windows", "100000"}}) {
    const Outcome refused = run_program(plus(base, more));
    EXPECT_EQ(refused.exit_code, 2) << refused.err;
    EXPECT_EQ(std::count(refused.err.begin(), refused.err.end(), '\n'), 1) << refused.err;
  }
}

}  // namespace
}  // namespace lowbit::test
