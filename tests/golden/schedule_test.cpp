#include "lowbit/model/schedule.h"

#include <gtest/gtest.h>

#include "golden/test_support.h"
#include "lowbit/model/config.h"
#include "support/data.h"
#include "support/golden.h"

namespace lowbit::golden {
namespace {

TEST(Schedule, OneCycleOfThePapers30MRun) {
  struct Point {
    std::int64_t step;
    double lr;
  };
  for (const auto& [step, lr] :
       {Point{0, 1.2e-5}, Point{100, 3.429605e-5}, Point{572, 6.0681632e-4}, Point{1143, 1.2e-3},
        Point{5000, 8.6748568e-4}, Point{10000, 1.7146354e-4}, Point{11443, 1.2e-4}})
    EXPECT_NEAR(model::one_cycle_cosine(step, 11444, 1144, 1.2e-3) / lr, 1, 1e-6) << step;
}

TEST(Schedule, OneCycleIsWhatTheGoldenRunsUsed) {
  LOWBIT_NEEDS_DATA();
  struct Run {
    const char* name;
    double peak;
  };
  for (const auto& [name, peak] :
       {Run{"w4a4", 2e-3}, Run{"w4a4@closed", 2e-3}, Run{"w4a4@lr2e-4", 2e-4}, Run{"w1a1@lr5e-5", 5e-5}}) {
    const auto golden = test::load_golden_run(name);
    ASSERT_EQ(golden.lr.size(), 40u);
    for (std::size_t step = 0; step < 40; ++step)
      EXPECT_LE(relative(model::one_cycle_cosine(static_cast<std::int64_t>(step), 40, 4, peak), golden.lr[step]), 1e-14)
          << name << " " << step;
  }
}

TEST(Schedule, OneCycleAtItsEdges) {
  EXPECT_EQ(model::one_cycle_cosine(0, 1, 0, 2.0), 2.0);
  EXPECT_EQ(model::one_cycle_cosine(0, 10, 1, 2.0), 2.0);
  EXPECT_EQ(model::one_cycle_cosine(9, 10, 10, 2.0), 2.0);
  EXPECT_NEAR(model::one_cycle_cosine(9, 10, 2, 2.0), 0.2, 1e-15);
  EXPECT_EQ(model::one_cycle_cosine(50, 10, 2, 2.0), model::one_cycle_cosine(9, 10, 2, 2.0));
  for (std::int64_t step = 1; step < 100; ++step) {
    const double before = model::one_cycle_cosine(step - 1, 100, 20, 1),
                 now = model::one_cycle_cosine(step, 100, 20, 1);
    EXPECT_EQ(now > before, step < 20) << step;
  }
}

TEST(Schedule, WsdRisesStaysAndFallsByASquareRoot) {
  const auto at = [](std::int64_t step) { return model::wsd(step, 100, 10, 25, 4.0); };
  EXPECT_NEAR(at(0), 0.4, 1e-15);
  EXPECT_NEAR(at(4), 2.0, 1e-15);
  for (std::int64_t step = 9; step <= 75; ++step) EXPECT_EQ(at(step), 4.0) << step;
  EXPECT_NEAR(at(76), 4 * (1 - 0.2), 1e-15);  // sqrt(1/25)
  EXPECT_NEAR(at(91), 4 * (1 - 0.8), 1e-15);  // sqrt(16/25)
  EXPECT_GT(at(99), 0);
  EXPECT_EQ(at(1000), at(99));
  EXPECT_EQ(model::wsd(0, 5, 0, 0, 4.0), 4.0);
  EXPECT_EQ(model::wsd(4, 5, 0, 0, 4.0), 4.0);
}

// Oracle O15: the table of sizes, without embedding and head.
TEST(Presets, HaveTheParametersAndMlpWidthsOfThePapersTable) {
  struct Row {
    const char* size;
    std::int64_t mlp, parameters;
  };
  for (const Row& row : {Row{"30m", 1792, 30482560}, Row{"50m", 2048, 49556736}, Row{"100m", 2816, 102777856},
                         Row{"200m", 3584, 203188480}, Row{"430m", 4608, 443068288}, Row{"800m", 5632, 822151168},
                         Row{"1.6b", 6912, 1586076160}}) {
    model::Config c = model::preset(row.size);
    c.vocab = 50304;
    EXPECT_EQ(c.mlp, row.mlp) << row.size;
    EXPECT_EQ(model::default_mlp(c.width), row.mlp) << row.size;
    EXPECT_EQ(c.parameters() - 2 * c.vocab * c.width, row.parameters) << row.size;
    EXPECT_EQ(c.width, 128 * c.heads) << row.size;
  }
}

}  // namespace
}  // namespace lowbit::golden
