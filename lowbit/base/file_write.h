#pragma once
#include <cstddef>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>

namespace lowbit {

/// A file that appears under its name whole or not at all: written under a temporary name in the same folder, then
/// commit() makes it durable (fsync), renames it, and makes the folder durable. Destroyed uncommitted, it leaves nothing.
class AtomicFile {
 public:
  /// throws Error(failed): the folder cannot be written.
  explicit AtomicFile(std::filesystem::path path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  /// Appends. throws Error(failed) that names the file and the system's reason (no space left, ...).
  void write(std::span<const std::byte> bytes);
  void write(std::string_view text);
  /// Overwrites bytes already written (a header whose counts are known last).
  void write_at(std::size_t offset, std::span<const std::byte> bytes);
  std::size_t size() const { return size_; }
  /// The name until commit.
  const std::filesystem::path& temporary() const { return temporary_; }
  void commit();

 private:
  void flush();
  std::filesystem::path path_, temporary_;
  int fd_ = -1;
  std::size_t size_ = 0;
  std::string buffer_;
};

/// AtomicFile for bytes already in memory.
void write_file(const std::filesystem::path& path, std::string_view bytes);

/// fsync of a folder, so that names made or renamed in it survive a power cut. throws Error(failed).
void sync_folder(const std::filesystem::path& folder);
/// rename(2). throws Error(failed).
void rename_path(const std::filesystem::path& from, const std::filesystem::path& to);
/// Makes a folder and its parents. throws Error(failed).
void make_folder(const std::filesystem::path& folder);

/// Tests make system calls fail: called before each write, fsync and rename of this file with that word; a value other
/// than 0 is taken as the errno of a call that failed. Empty by default.
inline std::function<int(std::string_view call)> file_fault;

}  // namespace lowbit
