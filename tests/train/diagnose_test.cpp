#include <gtest/gtest.h>

#include <algorithm>

#include "lowbit/files/json.h"
#include "train/support.h"

namespace lowbit::test {
namespace {

namespace fs = std::filesystem;

files::Json diagnose(const fs::path& model, const fs::path& batches, const std::vector<std::string>& more) {
  const Outcome outcome = run_program(plus({lowbit_program(), "diagnose", "--json", "--model", model.string(),
                                            "--batches", batches.string(), "--windows", "8"},
                                           more));
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

TEST(Diagnose, EveryFormThatIsCodedHasAnExpectationAndWhatIsNotHasNone) {
  const TemporaryFolder folder;
  write_batches(folder / "b", 80, 32, 1);
  struct Case {
    std::string format;
    std::vector<std::string> more;
    bool weight, input;
  };
  int number = 0;
  for (const Case& c :
       {Case{"w4a4+2:4", {}, true, true}, Case{"w4a4", {"--scale", "absmax"}, true, true},
        Case{"w3a3", {"--estimator", "lsq+"}, true, true}, Case{"w1a1", {"--estimator", "adabin"}, true, true},
        Case{"w16a4", {}, false, true}, Case{"w2a16", {}, true, false}}) {
    const fs::path run = folder / std::to_string(number++);
    ASSERT_EQ(run_program(plus(with_format(small_run(folder / "b", run, 8), c.format), c.more)).exit_code, 0)
        << c.format;
    for (const auto& layer : diagnose(run, folder / "b", {})["layers"])
      for (const char* side : {"weight", "input"}) {
        const bool coded = side == std::string("weight") ? c.weight : c.input;
        ASSERT_EQ(layer[side].is_object(), coded) << c.format << " " << side;
        if (!coded) continue;
        ASSERT_TRUE(layer[side]["normal_error"].is_number()) << c.format << " " << side;
        // Trained for eight steps, weights are still nearly normal; inputs are what they are.
        const double ratio = layer[side]["error"].get<double>() / layer[side]["normal_error"].get<double>();
        EXPECT_GT(ratio, side == std::string("weight") ? 0.8 : 0.1) << c.format << " " << side << " " << layer["name"];
        EXPECT_LT(ratio, side == std::string("weight") ? 1.2 : 10) << c.format << " " << side << " " << layer["name"];
      }
    const Outcome printed = run_program({lowbit_program(), "diagnose", "--model", run.string(), "--batches",
                                         (folder / "b").string(), "--windows", "8"});
    EXPECT_EQ(printed.out.find("nan"), std::string::npos) << printed.out;
    if (!c.weight || !c.input) {
      EXPECT_NE(printed.out.find(" -"), std::string::npos) << printed.out;
    }
  }
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
  for (const std::vector<std::string>& more : {std::vector<std::string>{"--batches", (folder / "b").string()},
                                               {},
                                               {"--batches", (folder / "b").string(), "--against", "w4"},
                                               {"--batches", (folder / "b").string(), "--windows", "100000"}}) {
    const Outcome refused = run_program(plus(base, more));
    EXPECT_EQ(refused.exit_code, 2) << refused.err;
    EXPECT_EQ(std::count(refused.err.begin(), refused.err.end(), '\n'), 1) << refused.err;
  }
}

}  // namespace
}  // namespace lowbit::test
