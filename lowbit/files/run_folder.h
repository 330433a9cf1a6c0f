#pragma once
#include <filesystem>

#include "lowbit/base/file_lock.h"

// A run folder holds all of one training run (docs/reference/formats.md, "Run folder"): run.json, metrics.jsonl,
// checkpoints/, report.html, and `lock`, which keeps a second process out.
namespace lowbit::files {

/// Opens a run folder for writing and keeps it locked while it lives.
class RunFolder {
 public:
  /// Makes the folder, or takes one that is empty or is a run folder; locks it; clears away what a process that died
  /// left. throws Error(usage): another process has it, with that process's number.
  ///        Error(input): a file, a folder with other things in it, or one that cannot be written.
  explicit RunFolder(const std::filesystem::path& folder);

  /// Whether a run had begun here before this object.
  bool existed() const { return existed_; }
  const std::filesystem::path& path() const { return folder_; }
  std::filesystem::path run_json() const { return folder_ / "run.json"; }
  std::filesystem::path metrics() const { return folder_ / "metrics.jsonl"; }
  std::filesystem::path report() const { return folder_ / "report.html"; }
  std::filesystem::path checkpoints() const { return folder_ / "checkpoints"; }

 private:
  std::filesystem::path folder_;
  bool existed_;
  FileLock lock_;
};

/// Where --model stands: the model folder that `path` means. A folder with config.json is one; of a run folder it is
/// the newest complete checkpoint. throws Error(input): neither, or a run folder without a complete checkpoint.
std::filesystem::path resolve_model(const std::filesystem::path& path);
/// Whether `path` is a run folder: it holds a run.json or checkpoints/.
bool is_run_folder(const std::filesystem::path& path);

}  // namespace lowbit::files
