#include "lowbit/files/run_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <set>
#include <system_error>

#include "lowbit/base/error.h"
#include "lowbit/files/checkpoint.h"

namespace lowbit::files {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kLock = "lock";

/// AtomicFile's names before commit.
bool is_temporary(std::string_view name) { return name.find(".tmp-") != std::string_view::npos; }

std::set<std::string> names_in(const fs::path& folder) {
  std::set<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
    names.insert(it->path().filename().string());
  if (error) fail_input("cannot list folder {}: {}", folder.string(), error.message());
  return names;
}

/// Makes the folder where it is missing. returns whether a run had begun in it.
bool take_folder(const fs::path& folder) {
  std::error_code error;
  if (!fs::exists(folder, error)) {
    fs::create_directories(folder, error);
    if (error) fail_input("cannot make run folder {}: {}; name another with --out", folder.string(), error.message());
    return false;
  }
  if (!fs::is_directory(folder, error))
    fail_input("{} is a file, wanted a run folder; name another with --out", folder.string());
  const auto names = names_in(folder);
  if (names.contains("run.json")) return true;
  // A run that was stopped before its run.json leaves only our own names.
  for (const std::string& name : names)
    if (name != kLock && name != "metrics.jsonl" && name != "checkpoints" && !is_temporary(name))
      fail_input("folder {} holds {} and no run.json, so it is not a run folder; name a new or empty one with --out",
                 folder.string(), name);
  return names.contains("checkpoints");
}

int lock_folder(const fs::path& folder) {
  const fs::path path = folder / kLock;
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (fd < 0)
    fail_input("cannot write in run folder {}: {}; name another with --out", folder.string(), errno_text(errno));
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    const int error = errno;
    std::array<char, 32> text{};
    const ssize_t got = pread(fd, text.data(), text.size() - 1, 0);
    close(fd);
    if (error != EWOULDBLOCK) fail_input("cannot lock run folder {}: {}", folder.string(), errno_text(error));
    std::string holder(text.data(), got > 0 ? static_cast<std::size_t>(got) : 0);
    while (!holder.empty() && holder.back() == '\n') holder.pop_back();
    fail_usage("run folder {} is in use by process {}; wait for it, stop it, or name another folder", folder.string(),
               holder.empty() ? "?" : holder);
  }
  // The number is only for the message above, so a failed write is no reason to stop here.
  const std::string number = fmt::format("{}\n", getpid());
  if (ftruncate(fd, 0) == 0) {
    [[maybe_unused]] const ssize_t put = pwrite(fd, number.data(), number.size(), 0);
  }
  return fd;
}

}  // namespace

RunFolder::RunFolder(const fs::path& folder) : folder_(folder) {
  existed_ = take_folder(folder_);
  lock_ = lock_folder(folder_);
  try {
    for (const std::string& name : names_in(folder_))
      if (is_temporary(name)) {
        std::error_code ignored;
        fs::remove(folder_ / name, ignored);
      }
    clean_checkpoints(folder_);
  } catch (...) {
    close(lock_);
    throw;
  }
}

RunFolder::~RunFolder() { close(lock_); }  // which unlocks; the file stays, as removing it would race with the next

bool is_run_folder(const fs::path& path) {
  std::error_code error;
  return fs::is_regular_file(path / "run.json", error) || fs::is_directory(path / "checkpoints", error);
}

fs::path resolve_model(const fs::path& path) {
  std::error_code error;
  if (!fs::exists(path, error)) fail_input("there is no model folder {}", path.string());
  if (!fs::is_directory(path, error))
    fail_input("{} is a file; name the model folder that holds config.json, or a run folder", path.string());
  if (fs::exists(path / "config.json", error)) return path;
  if (!is_run_folder(path))
    fail_input("folder {} holds neither config.json nor checkpoints, so it is neither a model folder nor a run folder",
               path.string());
  if (auto newest = newest_complete(path)) return newest->folder;
  fail_input("run folder {} has no complete checkpoint yet; train on with --resume until it writes one", path.string());
}

}  // namespace lowbit::files
