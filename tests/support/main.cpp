#include <gtest/gtest.h>

#include "lowbit/base/executor.h"

int main(int argc, char** argv) {
  const lowbit::FlushDenormals flush;
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
