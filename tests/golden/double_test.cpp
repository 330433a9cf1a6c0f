#include <gtest/gtest.h>

#include "golden/double_run.h"
#include "support/data.h"

namespace lowbit::golden {
namespace {

TEST(GoldenDouble, UnquantizedRunIsRepeated) {
  LOWBIT_NEEDS_DATA();
  expect_run_in_double("none");
}
TEST(GoldenDouble, W4A4WithTheClosedMaskIsRepeated) {
  LOWBIT_NEEDS_DATA();
  expect_run_in_double("w4a4@closed");
}
TEST(GoldenDouble, W2A2WithTheClosedMaskIsRepeated) {
  LOWBIT_NEEDS_DATA();
  expect_run_in_double("w2a2@closed");
}

// Learned steps that cross zero make the rest of these runs chaotic (golden/runs/README.md).
TEST(GoldenDouble, FirstStepsOfLsqAreRepeatedWithItsStepsAndTheirGradients) {
  LOWBIT_NEEDS_DATA();
  expect_run_in_double("w4a4-lsq@tie0", 6);
}
TEST(GoldenDouble, FirstStepsOfLsqPlusAreRepeatedWithItsStepsOffsetsAndTheirGradients) {
  LOWBIT_NEEDS_DATA();
  expect_run_in_double("w4a4-lsqplus", 6);
}
TEST(GoldenDouble, FirstStepsOfPactWithTheGradientsOfTheCodeAreRepeated) {
  LOWBIT_NEEDS_DATA();
  expect_run_in_double("w4a4-pact@tie0", 6);
}

}  // namespace
}  // namespace lowbit::golden
