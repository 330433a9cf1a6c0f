#include "lowbit/base/granted.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <fstream>

#include "lowbit/base/executor.h"
#include "support/data.h"

namespace lowbit {
namespace {

namespace fs = std::filesystem;

/// A system's files, as far as control groups are told by them.
struct FakeSystem {
  test::TemporaryFolder folder;
  std::string mounts;

  fs::path root() const { return folder.path(); }
  void write(const std::string& path, const std::string& text) const {
    const fs::path file = root() / path;
    fs::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  void mount(const std::string& type, const std::string& point, const std::string& options,
             const std::string& group = "/") {
    mounts +=
        "30 23 0:26 " + group + " /" + point + " rw,nosuid shared:4 - " + type + " " + type + " " + options + "\n";
    write("proc/self/mountinfo", "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n" + mounts);
  }
  Granted granted() const { return granted_by_control_groups(root()); }
};

constexpr double kGiB = 1024.0 * 1024 * 1024;

TEST(Granted, WithoutControlGroupsNothingIsLimited) {
  const FakeSystem system;
  EXPECT_TRUE(std::isinf(system.granted().processors));
  EXPECT_TRUE(std::isinf(system.granted().memory_left));
}

TEST(Granted, TheSmallestQuotaOnThePathToTheRootCounts) {
  for (const auto& [leaf, middle, expected] : {std::tuple{"max 100000", "150000 100000", 1.5},
                                               {"50000 100000", "150000 100000", 0.5},
                                               {"400000 100000", "max 100000", 4.0},
                                               {"300000 50000", "max 100000", 6.0}}) {
    FakeSystem system;
    system.mount("cgroup2", "sys/fs/cgroup", "rw,nsdelegate");
    system.write("proc/self/cgroup", "0::/a.slice/b.service/c\n");
    system.write("sys/fs/cgroup/cgroup.controllers", "cpu memory\n");
    system.write("sys/fs/cgroup/a.slice/cpu.max", std::string(middle) + "\n");
    system.write("sys/fs/cgroup/a.slice/b.service/cpu.max", "max 100000\n");
    system.write("sys/fs/cgroup/a.slice/b.service/c/cpu.max", std::string(leaf) + "\n");
    EXPECT_DOUBLE_EQ(system.granted().processors, expected) << leaf << ", " << middle;
  }
}

TEST(Granted, TheFirstVersionIsReadByItsControllers) {
  FakeSystem system;
  system.mount("cgroup", "sys/fs/cgroup/cpu,cpuacct", "rw,cpu,cpuacct");
  system.mount("cgroup", "sys/fs/cgroup/memory", "rw,memory");
  system.mount("cgroup", "sys/fs/cgroup/cpuset", "rw,cpuset");  // no quota lies there
  system.write("proc/self/cgroup", "5:memory:/docker/x\n4:cpu,cpuacct:/docker/x\n3:cpuset:/\n1:name=systemd:/\n0::/\n");
  system.write("sys/fs/cgroup/cpu,cpuacct/docker/x/cpu.cfs_quota_us", "-1\n");
  system.write("sys/fs/cgroup/cpu,cpuacct/docker/x/cpu.cfs_period_us", "100000\n");
  system.write("sys/fs/cgroup/cpu,cpuacct/docker/cpu.cfs_quota_us", "250000\n");
  system.write("sys/fs/cgroup/cpu,cpuacct/docker/cpu.cfs_period_us", "100000\n");
  system.write("sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes", "9223372036854771712\n");
  system.write("sys/fs/cgroup/memory/docker/x/memory.usage_in_bytes", "4096\n");
  system.write("sys/fs/cgroup/memory/docker/memory.limit_in_bytes", "3221225472\n");
  system.write("sys/fs/cgroup/memory/docker/memory.usage_in_bytes", "2147483648\n");
  system.write("sys/fs/cgroup/memory/docker/memory.stat", "inactive_file 1\ntotal_inactive_file 536870912\n");
  const Granted granted = system.granted();
  EXPECT_DOUBLE_EQ(granted.processors, 2.5);
  EXPECT_DOUBLE_EQ(granted.memory_limit, 3 * kGiB);
  EXPECT_DOUBLE_EQ(granted.memory_left, 1.5 * kGiB);
}

TEST(Granted, InAContainerTheMountShowsTheGroupItself) {
  // The names are those of the host, and the mount's root is the group.
  FakeSystem bound;
  bound.mount("cgroup", "sys/fs/cgroup/cpu", "rw,cpu", "/docker/abc");
  bound.write("proc/self/cgroup", "4:cpu:/docker/abc/child\n");
  bound.write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "100000\n");
  bound.write("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
  bound.write("sys/fs/cgroup/cpu/child/cpu.cfs_quota_us", "60000\n");
  bound.write("sys/fs/cgroup/cpu/child/cpu.cfs_period_us", "100000\n");
  EXPECT_DOUBLE_EQ(bound.granted().processors, 0.6);
  // The group lies outside of what is mounted: the mount point is the nearest that can be seen.
  for (const char* group : {"0::/../../elsewhere\n", "0::/kubepods/pod/x\n"}) {
    FakeSystem apart;
    apart.mount("cgroup2", "sys/fs/cgroup", "rw");
    apart.write("proc/self/cgroup", group);
    apart.write("sys/fs/cgroup/cpu.max", "200000 100000\n");
    EXPECT_DOUBLE_EQ(apart.granted().processors, 2) << group;
  }
}

TEST(Granted, MemoryOfTheSecondVersionKnowsHighAndMaxOfEveryAncestor) {
  FakeSystem system;
  system.mount("cgroup2", "sys/fs/cgroup/unified path", "rw");
  system.mounts.clear();
  system.mount("cgroup2", "sys/fs/cgroup/unified\\040path", "rw");
  system.write("proc/self/cgroup", "0::/a/b\n");
  const std::string at = "sys/fs/cgroup/unified path/";
  system.write(at + "a/memory.max", "2147483648\n");
  system.write(at + "a/memory.current", "1073741824\n");
  system.write(at + "a/memory.stat", "anon 5\nfile 9\n");
  system.write(at + "a/b/memory.max", "max\n");
  system.write(at + "a/b/memory.high", "1610612736\n");
  system.write(at + "a/b/memory.current", "1073741824\n");
  EXPECT_DOUBLE_EQ(system.granted().memory_left, 0.5 * kGiB);
  system.write(at + "a/memory.current", "4294967296\n");  // over its limit: nothing is left
  EXPECT_EQ(system.granted().memory_left, 0);
}

TEST(Granted, FilesThatSayNonsenseLimitNothing) {
  FakeSystem system;
  system.mount("cgroup2", "sys/fs/cgroup", "rw");
  system.write("proc/self/cgroup", "0::/a\n:::\n\nnot a group\n");
  for (const char* text : {"", "max", "0 100000", "100000 0", "-5 100000", "nan 100000", "1e5 100000 7", "x y"}) {
    system.write("sys/fs/cgroup/a/cpu.max", text);
    system.write("sys/fs/cgroup/a/memory.max", text);
    EXPECT_TRUE(std::isinf(system.granted().processors)) << text;
    EXPECT_TRUE(std::isinf(system.granted().memory_left)) << text;
  }
}

TEST(Granted, ThreadsAreTheQuotaRoundedUpAndNoMoreThanAffinityAllows) {
  EXPECT_EQ(threads_granted(8, {}), 8);
  EXPECT_EQ(threads_granted(8, {.processors = 1.5}), 2);
  EXPECT_EQ(threads_granted(8, {.processors = 2}), 2);
  EXPECT_EQ(threads_granted(8, {.processors = 0.1}), 1);
  EXPECT_EQ(threads_granted(2, {.processors = 64}), 2);
  EXPECT_EQ(threads_granted(1, {.processors = 1e9}), 1);
}

/// A group of this machine, where such may be made.
TEST(Granted, AQuotaOfThisSystemIsSeen) {
  fs::path group;
  for (const char* point : {"/sys/fs/cgroup/cpu", "/sys/fs/cgroup"}) {
    std::string name = std::string(point) + "/lowbit-test-XXXXXX";
    if (!mkdtemp(name.data())) continue;
    if (fs::exists(fs::path(name) / "cpu.cfs_quota_us") || fs::exists(fs::path(name) / "cpu.max")) {
      group = name;
      break;
    }
    rmdir(name.c_str());
  }
  if (group.empty()) GTEST_SKIP() << "no control group can be made here";
  const bool v2 = fs::exists(group / "cpu.max");
  const auto set = [&](const char* file, const char* text) {
    return !!(std::ofstream(group / file) << text << std::flush);
  };
  bool ready =
      v2 ? set("cpu.max", "50000 100000") : set("cpu.cfs_period_us", "100000") && set("cpu.cfs_quota_us", "50000");
  int threads = -1;
  if (ready) {
    const pid_t child = fork();
    if (child == 0) {
      std::ofstream procs(group / "cgroup.procs");
      if (!(procs << getpid() << std::flush)) _exit(99);
      _exit(available_threads());
    }
    int status = 0;
    waitpid(child, &status, 0);
    threads = WEXITSTATUS(status);
    ready = threads != 99;
  }
  for (int i = 0; i < 100 && rmdir(group.c_str()) != 0; ++i) usleep(10'000);
  if (!ready) GTEST_SKIP() << "this control group takes no quota or process";
  EXPECT_EQ(threads, 1);
}

}  // namespace
}  // namespace lowbit
