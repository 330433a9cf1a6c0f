#pragma once
#include <filesystem>
#include <string>

namespace lowbit {

/// A lock file that one process at a time holds, from construction to destruction (flock(2)). The system frees it when
/// the process ends, however it ends. The file stays: removing it would race with the next process.
class FileLock {
 public:
  /// Makes the file where it is missing and tries to take the lock, without waiting.
  /// throws Error(input): the file cannot be opened for writing; its message ends with `advice`.
  explicit FileLock(const std::filesystem::path& file, const char* advice = "name another folder with --out");
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

  bool held() const { return held_; }
  /// The process number that the holder wrote, or "?". Of another container's process it is that container's number.
  const std::string& holder() const { return holder_; }

 private:
  int fd_;
  bool held_ = false;
  std::string holder_;
};

/// The same for a folder itself, without a file in it.
class FolderLock {
 public:
  /// throws Error(failed): the folder cannot be opened.
  explicit FolderLock(const std::filesystem::path& folder);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;
  bool held() const { return held_; }

 private:
  int fd_;
  bool held_ = false;
};

/// Whether another process holds the lock of this file or folder. false where there is none.
bool is_locked(const std::filesystem::path& file);

}  // namespace lowbit
