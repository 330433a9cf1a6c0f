#include <gtest/gtest.h>

#include "train/support.h"

namespace lowbit::test {
namespace {

TEST(KillLong, FiftyKillsOverTwoHundredStepsLeaveTheBytesOfTheUninterruptedRun) {
  EXPECT_EQ(kill_and_resume(200, 10, 50, 11), "");
}

}  // namespace
}  // namespace lowbit::test
