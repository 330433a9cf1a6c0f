#include <gtest/gtest.h>

#include "lowbit/base/error.h"
#include "lowbit/train/options.h"
#include "lowbit/train/recipe.h"
#include "train/support.h"

// What a recipe fills in, and what it leaves alone.
namespace lowbit::test {
namespace {

train::Options filled(const std::string& recipe, const std::string& format, std::int64_t tokens, double lr = 0,
                      double gain = -1, const std::string& size = "0.5m") {
  train::Options o;
  o.config = model::preset(size);
  o.config.vocab = 2048;
  o.scheme = default_scheme(parse_format(format));
  o.recipe = recipe;
  o.lr = lr;
  if (gain >= 0) o.gain_lr = gain;
  train::apply_recipe(o, tokens, {.gain_lr = gain >= 0});
  return o;
}

constexpr std::int64_t kLong = 4'194'304;

TEST(Recipe, BestTakesAHigherRateButAtTwoAndThreeBitsAndInShortRuns) {
  EXPECT_DOUBLE_EQ(filled("quest", "w1a1", kLong).lr, 2e-3);
  EXPECT_DOUBLE_EQ(filled("best", "bf16", kLong).lr, 4e-3);
  EXPECT_DOUBLE_EQ(filled("best", "w4a4", kLong).lr, 4e-3);
  EXPECT_DOUBLE_EQ(filled("best", "w1a1", kLong).lr, 4e-3);
  EXPECT_DOUBLE_EQ(filled("best", "w2a2", kLong).lr, 2e-3);
  EXPECT_DOUBLE_EQ(filled("best", "w3a3", kLong).lr, 2e-3);
  EXPECT_DOUBLE_EQ(filled("best", "w1a1", 1'000'000).lr, 2e-3);
  EXPECT_DOUBLE_EQ(filled("best", "w4a4", 1'000'000'000, 0, -1, "50m").lr,
                   filled("quest", "w4a4", 1'000'000'000, 0, -1, "50m").lr);
}

TEST(Recipe, BestLearnsGainsAtTwoBitsAndFewer) {
  for (const char* format : {"w1a1", "w2a2", "w1.58a8", "w2a16"})
    EXPECT_EQ(filled("best", format, kLong).gain_lr, 5) << format;
  for (const char* format : {"bf16", "f32", "w3a3", "w4a4", "fp4", "w16a4"})
    EXPECT_EQ(filled("best", format, kLong).gain_lr, 0) << format;
  EXPECT_EQ(filled("quest", "w2a2", kLong).gain_lr, 0);
}

TEST(Recipe, BestTakesHalfTheBatchOfSmallModelsAndSoTwiceTheSteps) {
  EXPECT_EQ(filled("quest", "w4a4", kLong).tokens_per_step(), 8192);
  EXPECT_EQ(filled("best", "w4a4", kLong).tokens_per_step(), 4096);
  EXPECT_EQ(filled("best", "w4a4", kLong).steps, 1024);
  EXPECT_EQ(filled("best", "w4a4", 100'000'000, 0, -1, "8m").tokens_per_step(),
            filled("quest", "w4a4", 100'000'000, 0, -1, "8m").tokens_per_step());
}

TEST(Recipe, BestNormsQueriesAndKeysUnlessThatWasRefused) {
  EXPECT_TRUE(filled("best", "w4a4", kLong).config.qk_norm);
  EXPECT_TRUE(filled("best", "bf16", kLong).config.qk_norm);
  EXPECT_FALSE(filled("quest", "w4a4", kLong).config.qk_norm);
  train::Options refused;
  refused.config = model::preset("0.5m");
  refused.scheme = default_scheme(parse_format("w4a4"));
  refused.recipe = "best";
  train::apply_recipe(refused, kLong, {.qk_norm = true});
  EXPECT_FALSE(refused.config.qk_norm);
}

TEST(Recipe, WhatWasGivenStands) {
  const train::Options o = filled("best", "w1a1", kLong, 1e-3, 2);
  EXPECT_EQ(o.lr, 1e-3);
  EXPECT_EQ(o.gain_lr, 2);
}

TEST(Recipe, AnUnknownNameIsRefusedWithTheKnownOnes) {
  try {
    filled("better", "w4a4", kLong);
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "unknown --recipe 'better'; this program has quest, best");
  }
}

TEST(Recipe, IsRecordedSoThatTheCommandOfARunMayBeRepeatedWithResume) {
  const TemporaryFolder folder;
  write_batches(folder / "b", 40, 32, 1);
  auto arguments = with_format(small_run(folder / "b", folder / "run", 4), "w2a2");
  ASSERT_EQ(run_program(plus(arguments, {"--recipe", "best"})).exit_code, 0);
  EXPECT_EQ(run_program(plus(arguments, {"--recipe", "best", "--resume"})).exit_code, 0);
  const Outcome other = run_program(plus(arguments, {"--recipe", "quest", "--resume"}));
  EXPECT_EQ(other.exit_code, 2);
  EXPECT_NE(other.err.find("--recipe"), std::string::npos) << other.err;
}

}  // namespace
}  // namespace lowbit::test
