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

}  // namespace
}  // namespace lowbit::golden
