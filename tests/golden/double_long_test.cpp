#include <gtest/gtest.h>

#include "golden/double_run.h"
#include "support/data.h"

namespace lowbit::golden {
namespace {

struct GoldenDoubleRun : testing::TestWithParam<std::string> {};

TEST_P(GoldenDoubleRun, IsRepeated) {
  LOWBIT_NEEDS_DATA();
  expect_run_in_double(GetParam());
}
// lowbit's own rules.
INSTANTIATE_TEST_SUITE_P(Closed, GoldenDoubleRun,
                         testing::Values("w8a8@closed", "w3a3@closed", "w4a8@closed", "w2a8@closed",
                                         "w4a4-nohadamard@closed"),
                         golden_test_name);
// The same code but for the two edge rules of the paper's code: everything else of these runs is held as tightly.
INSTANTIATE_TEST_SUITE_P(Literal, GoldenDoubleRun,
                         testing::Values("w8a8", "w4a4", "w3a3", "w2a2", "w1a1", "w4a8", "w2a8", "w4a16", "w2a16",
                                         "w1a16", "w4a16-full", "w2a16-full", "w1a16-full", "fp4", "fp4-paper",
                                         "w4a4+2:4", "w4a4-gaussian", "w4a4@lr2e-4", "w1a1@lr2e-4", "w4a4@lr5e-5",
                                         "w1a1@lr5e-5"),
                         golden_test_name);
INSTANTIATE_TEST_SUITE_P(Tie0, GoldenDoubleRun,
                         testing::Values("w4a4-nohadamard@tie0", "w4a4-ste@tie0", "w4a4-clip@tie0",
                                         "w4a4-absmax@tie0", "w1a1-nohadamard@tie0"),
                         golden_test_name);

struct GoldenDoubleMid : testing::TestWithParam<std::string> {};

TEST_P(GoldenDoubleMid, LossLogitsAndGradientsAtTrainedWeights) {
  LOWBIT_NEEDS_DATA();
  expect_mid_in_double(GetParam());
}
INSTANTIATE_TEST_SUITE_P(Literal, GoldenDoubleMid,
                         testing::Values("none", "w8a8", "w4a4", "w3a3", "w2a2", "w1a1", "w4a16", "w2a16", "w1a16",
                                         "w4a8", "w2a8", "w4a4+2:4", "w4a4-lsqplus"),
                         golden_test_name);

}  // namespace
}  // namespace lowbit::golden
