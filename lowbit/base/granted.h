#pragma once
#include <filesystem>
#include <limits>

namespace lowbit {

/// What the control groups of this process leave it: the smallest limit on the path from its own group to the root, of
/// cgroup v1 and v2. Containers and service managers set these; affinity and /proc/meminfo do not show them.
struct Granted {
  double processors = std::numeric_limits<double>::infinity();   ///< quota / period, 1.5 for one and a half
  double memory_limit = std::numeric_limits<double>::infinity(); ///< bytes, of the group that leaves the least
  double memory_left =
      std::numeric_limits<double>::infinity();  ///< bytes: limit less use; what can be reclaimed counts as free
};

/// root: where proc/self/cgroup, proc/self/mountinfo and sys/fs/cgroup are looked for. What cannot be read limits
/// nothing.
Granted granted_by_control_groups(const std::filesystem::path& root = "/");

/// Threads for so many processors by affinity and such a quota: the smaller, the quota rounded up, at least 1.
int threads_granted(int processors, const Granted& granted);

}  // namespace lowbit
