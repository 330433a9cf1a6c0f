#include "lowbit/machine/memory.h"

#include <gtest/gtest.h>

#include <fstream>

#include "support/data.h"

namespace lowbit {
namespace {

TEST(AvailableMemory, IsTheSmallerOfTheSystemAndTheControlGroups) {
  const test::TemporaryFolder root;
  const auto write = [&](const std::string& path, const std::string& text) {
    std::filesystem::create_directories((root / path).parent_path());
    std::ofstream(root / path) << text;
  };
  write("proc/meminfo", "MemTotal: 8000 kB\nMemAvailable:    4000 kB\n");
  EXPECT_EQ(available_memory(root.path()), 4000 * 1024);
  write("proc/self/mountinfo", "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
  write("proc/self/cgroup", "0::/a\n");
  write("sys/fs/cgroup/a/memory.max", "3072000\n");
  write("sys/fs/cgroup/a/memory.current", "1024000\n");
  EXPECT_EQ(available_memory(root.path()), 2000 * 1024);
  write("sys/fs/cgroup/a/memory.max", "max\n");
  EXPECT_EQ(available_memory(root.path()), 4000 * 1024);
}

TEST(AvailableMemory, OfThisMachineIsSomething) { EXPECT_GT(available_memory(), 1 << 20); }

}  // namespace
}  // namespace lowbit
