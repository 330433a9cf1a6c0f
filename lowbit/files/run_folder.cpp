#include "lowbit/files/run_folder.h"

#include <set>
#include <system_error>

#include "lowbit/base/error.h"
#include "lowbit/base/file_write.h"
#include "lowbit/files/checkpoint.h"

namespace lowbit::files {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kLock = "lock";

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
    if (name != kLock && name != "metrics.jsonl" && name != "checkpoints" && !is_temporary_name(name))
      fail_input("folder {} holds {} and no run.json, so it is not a run folder; name a new or empty one with --out",
                 folder.string(), name);
  return names.contains("checkpoints");
}

}  // namespace

RunFolder::RunFolder(const fs::path& folder) : folder_(folder), existed_(take_folder(folder_)), lock_(folder_ / kLock) {
  if (!lock_.held())
    fail_usage("run folder {} is in use by process {}; wait for it, stop it, or name another folder", folder_.string(),
               lock_.holder());
  remove_temporaries(folder_);
  clean_checkpoints(folder_);
}

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
