#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

// These tests write thousands of small files and make each durable, which on a disk takes minutes. In memory the calls
// are the same.
namespace lowbit::test {
namespace {

struct MemoryFolder : testing::Environment {
  void SetUp() override {
    if (access("/dev/shm", R_OK | W_OK | X_OK) == 0) setenv("TMPDIR", "/dev/shm", 0);
  }
};
[[maybe_unused]] const auto* const environment = testing::AddGlobalTestEnvironment(new MemoryFolder);

}  // namespace
}  // namespace lowbit::test
