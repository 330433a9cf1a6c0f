#include "lowbit/base/write_target.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <optional>
#include <system_error>

#include "lowbit/base/error.h"

namespace lowbit {
namespace {

namespace fs = std::filesystem;

constexpr int kMostLinks = 40;  // as the system's own limit

/// N of /proc/self/fd/N, which /dev/stdout and /dev/fd/N lead to.
std::optional<int> own_descriptor(const fs::path& folder, const fs::path& name) {
  if (folder != "/proc/self/fd" && folder != fmt::format("/proc/{}/fd", getpid())) return std::nullopt;
  const std::string text = name.string();
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

void refuse_kind(const fs::path& asked, mode_t mode) {
  const char* what = S_ISDIR(mode) ? "a folder" : S_ISSOCK(mode) ? "a socket" : S_ISBLK(mode) ? "a disk" : nullptr;
  if (what) fail_input("{} is {}; name a file", asked.string(), what);
}

}  // namespace

WriteTarget write_target(const fs::path& asked) {
  if (!asked.has_filename()) fail_input("'{}' names no file; add a file name", asked.string());
  WriteTarget target;
  target.path = asked;
  for (int links = 0;; ++links) {
    if (links > kMostLinks)
      fail_input("{} is a symbolic link that leads back to itself; name another file", asked.string());
    const fs::path name = target.path.filename();
    if (name.empty() || name == "." || name == "..") {
      refuse_kind(asked, S_IFDIR);
    }
    std::error_code error;
    const fs::path parent = target.path.has_parent_path() ? target.path.parent_path() : fs::path(".");
    const fs::path folder = fs::canonical(parent, error);
    if (error) {
      // A folder that is missing is told by the open that follows, as for any other name.
      if (links == 0) return target;
      fail_input("{} leads to {}, whose folder cannot be used: {}", asked.string(), target.path.string(),
                 error.message());
    }
    if (const auto number = own_descriptor(folder, name)) {
      struct stat info {};
      if (fstat(*number, &info) != 0) fail_input("{} is not open", asked.string());
      refuse_kind(asked, info.st_mode);
      target.through = true;
      target.descriptor = *number;
      return target;
    }
    struct stat info {};
    const fs::path full = folder / name;
    if (lstat(full.c_str(), &info) != 0) {
      if (links > 0) target.path = full;
      if (errno == ENOENT) return target;
      fail_input("{} cannot be examined: {}", asked.string(), errno_text(errno));
    }
    if (S_ISLNK(info.st_mode)) {
      // Links of the system under /proc lead to open files that may have no name.
      if (folder.string().starts_with("/proc/")) {
        if (stat(full.c_str(), &info) != 0) fail_input("{} cannot be examined: {}", asked.string(), errno_text(errno));
        refuse_kind(asked, info.st_mode);
        target.through = true;
        return target;
      }
      const fs::path next = fs::read_symlink(full, error);
      if (error) fail_input("the link {} cannot be read: {}", full.string(), error.message());
      target.path = next.is_absolute() ? next : folder / next;
      continue;
    }
    refuse_kind(asked, info.st_mode);
    if (links > 0) target.path = full;
    if (!S_ISREG(info.st_mode)) {
      target.through = true;
      return target;
    }
    // Files of the system are written into as well: they cannot be replaced.
    target.through = folder.string().starts_with("/proc/") || folder.string().starts_with("/sys/");
    target.exists = true;
    target.mode = info.st_mode & 07777;
    target.owner = info.st_uid;
    target.group = info.st_gid;
    return target;
  }
}

}  // namespace lowbit
