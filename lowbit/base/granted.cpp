#include "lowbit/base/granted.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace lowbit {
namespace {

namespace fs = std::filesystem;

/// Where one hierarchy is mounted. `controller`: "" for v2.
struct Mount {
  std::string controller;
  std::string root;   ///< the group that the mount point shows
  fs::path point;
};

constexpr double kNoLimit = std::numeric_limits<double>::infinity();
constexpr double kUnlimited = 1e18;  // v1 writes 9223372036854771712 for "no limit"

std::vector<std::string> words_in(const std::string& line) {
  std::istringstream in(line);
  std::vector<std::string> words;
  for (std::string word; in >> word;) words.push_back(word);
  return words;
}

bool holds_word(std::string_view list, std::string_view word) {
  for (std::size_t at = 0; at <= list.size();) {
    const std::size_t comma = std::min(list.find(',', at), list.size());
    if (list.substr(at, comma - at) == word) return true;
    at = comma + 1;
  }
  return false;
}

/// mountinfo writes a space in a path as \040.
std::string unescaped(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    int code = 0;
    if (text[i] == '\\' && i + 3 < text.size() &&
        std::from_chars(text.data() + i + 1, text.data() + i + 4, code, 8).ptr == text.data() + i + 4) {
      out += static_cast<char>(code);
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

fs::path below(const fs::path& root, const std::string& path) { return root / fs::path(path).relative_path(); }

std::vector<Mount> mounts(const fs::path& root) {
  std::vector<Mount> found;
  std::ifstream file(root / "proc/self/mountinfo");
  // 30 23 0:26 ROOT POINT options [tags] - TYPE SOURCE SUPER_OPTIONS
  for (std::string line; std::getline(file, line);) {
    const std::vector<std::string> words = words_in(line);
    const auto dash = std::find(words.begin(), words.end(), "-");
    if (words.size() < 6 || words.end() - dash < 4) continue;
    const std::string &type = dash[1], &options = dash[3];
    Mount mount{"", unescaped(words[3]), below(root, unescaped(words[4]))};
    if (type == "cgroup2") {
      found.push_back(mount);
    } else if (type == "cgroup") {
      for (const char* controller : {"cpu", "memory"})
        if (holds_word(options, controller)) {
          mount.controller = controller;
          found.push_back(mount);
        }
    }
  }
  return found;
}

/// The group of this process in a hierarchy, as /proc/self/cgroup names it.
std::optional<std::string> group_of(const fs::path& root, const std::string& controller) {
  std::ifstream file(root / "proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string list = line.substr(first + 1, second - first - 1);
    if (controller.empty() ? list.empty() : holds_word(list, controller)) return line.substr(second + 1);
  }
  return std::nullopt;
}

std::string first_line(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

double number_of(std::string_view word) {
  double value = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  return error == std::errc() && end == word.data() + word.size() && value >= 0 ? value : kNoLimit;
}
double number_in(const fs::path& path) { return number_of(first_line(path)); }

double processors_in(const fs::path& folder, bool v2) {
  double quota = kNoLimit, period = kNoLimit;
  if (v2) {
    const std::vector<std::string> words = words_in(first_line(folder / "cpu.max"));
    if (words.size() != 2) return kNoLimit;  // "max 100000", or "200000 100000"
    quota = number_of(words[0]), period = number_of(words[1]);
  } else {
    quota = number_in(folder / "cpu.cfs_quota_us"), period = number_in(folder / "cpu.cfs_period_us");
  }
  return std::isfinite(quota) && std::isfinite(period) && quota > 0 && period > 0 ? quota / period : kNoLimit;
}

/// Pages of files that nobody has used lately: the kernel gives them back before it refuses memory.
double reclaimable_in(const fs::path& folder, std::string_view key) {
  std::ifstream file(folder / "memory.stat");
  std::string name;
  for (double bytes = 0; file >> name >> bytes;)
    if (name == key) return bytes;
  return 0;
}

void take_memory(const fs::path& folder, bool v2, Granted& granted) {
  double limit = number_in(folder / (v2 ? "memory.max" : "memory.limit_in_bytes"));
  // Above memory.high the kernel slows a group down until it has given pages back.
  if (v2) limit = std::min(limit, number_in(folder / "memory.high"));
  if (!(limit < kUnlimited)) return;
  double used = number_in(folder / (v2 ? "memory.current" : "memory.usage_in_bytes"));
  used = std::isfinite(used) ? used - reclaimable_in(folder, v2 ? "inactive_file" : "total_inactive_file") : 0;
  const double left = std::max(0.0, limit - std::max(0.0, used));
  if (left < granted.memory_left) granted.memory_left = left, granted.memory_limit = limit;
}

}  // namespace

Granted granted_by_control_groups(const fs::path& root) {
  Granted granted;
  for (const Mount& mount : mounts(root)) {
    const std::optional<std::string> group = group_of(root, mount.controller);
    if (!group) continue;
    const bool v2 = mount.controller.empty();
    // In a container the mount may show the group itself (its root is the group), or all groups, or, where names are
    // those of the host, neither: then the mount point is the nearest that can be seen.
    fs::path inside = fs::path(*group).relative_path();
    if (mount.root != "/") {
      const fs::path relative = fs::path(*group).lexically_relative(mount.root);
      inside = relative.empty() || *relative.begin() == ".." ? fs::path() : relative;
    }
    if (!inside.empty() && (*inside.begin() == ".." || *inside.begin() == ".")) inside.clear();
    while (true) {
      const fs::path folder = inside.empty() ? mount.point : mount.point / inside;
      if (v2 || mount.controller == "cpu") granted.processors = std::min(granted.processors, processors_in(folder, v2));
      if (v2 || mount.controller == "memory") take_memory(folder, v2, granted);
      if (inside.empty()) break;
      inside = inside.parent_path();
    }
  }
  return granted;
}

int threads_granted(int processors, const Granted& granted) {
  const double quota = std::ceil(granted.processors - 1e-9);
  return std::max(1, quota < processors ? static_cast<int>(quota) : processors);
}

}  // namespace lowbit
