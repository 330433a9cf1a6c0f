#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>

#include "golden/run_golden.h"
#include "golden/test_support.h"
#include "lowbit/model/schedule.h"
#include "support/data.h"

// Forty steps in float with lowbit's own rules at edges, within tolerances B.
namespace lowbit::golden {
namespace {

struct GoldenFloatRun : testing::TestWithParam<std::string> {};

TEST_P(GoldenFloatRun, LossesStayWithinTheTolerances) {
  LOWBIT_NEEDS_DATA();
  const std::string name = GetParam();
  const test::GoldenRun golden = test::load_golden_run(name);
  const test::GoldenBatches batches;
  ReferenceModel<float> model(golden_weights(), golden_setup(name).scheme);
  ReferenceAdamW<float> optimizer;
  std::vector<double> losses;
  for (std::size_t step = 0; step < golden.loss.size(); ++step) {
    losses.push_back(model.forward(golden_batch(batches, step)));
    model.backward();
    optimizer.step(model, model::one_cycle_cosine(static_cast<std::int64_t>(step), 40, 4, 2e-3));
  }
  std::printf("%s: |difference| of the loss at steps 0, 1-3, 4-9, 10-19, 20-39:", name.c_str());
  constexpr std::size_t kBegin[] = {0, 1, 4, 10, 20, 40};
  for (std::size_t range = 0; range < 5; ++range) {
    double largest = 0;
    for (std::size_t i = kBegin[range]; i < kBegin[range + 1]; ++i)
      largest = std::max(largest, std::abs(losses[i] - golden.loss[i]));
    std::printf(" %.1e", largest);
  }
  std::printf("\n");
  EXPECT_EQ(test::compare_losses(golden, losses, test::loss_tolerance(name, false)), "");
}

INSTANTIATE_TEST_SUITE_P(Runs, GoldenFloatRun,
                         testing::Values("none", "w8a8@closed", "w4a4@closed", "w3a3@closed", "w2a2@closed", "w1a1",
                                         "w4a8@closed", "w2a8@closed", "w4a16", "w2a16", "w1a16", "w4a16-full",
                                         "w2a16-full", "w1a16-full", "w4a4-nohadamard@closed", "w4a4-ste", "w4a4-clip",
                                         "w1a1-nohadamard", "fp4", "fp4-paper", "w4a4+2:4", "w4a4-gaussian",
                                         "w4a4-absmax"),
                         golden_test_name);

}  // namespace
}  // namespace lowbit::golden
