#pragma once
#include <cstddef>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>

namespace lowbit {

/// A file that appears under its name whole or not at all: written under a random temporary name in the same folder,
/// then commit() makes it durable (fsync), renames it, and makes the folder durable. Destroyed uncommitted, it leaves
/// nothing.
///
/// What already has the name decides what is written:
///   nothing, a regular file     replaced by the rename; the new file has the old one's permissions and, where the
///   system
///                               allows it, its owner
///   a symbolic link             stays; the file that it points to is written
///   a character device, a pipe, an open file under /dev/fd or /proc
///                               is written into by commit(), since a rename would replace /dev/stdout by a file; until
///                               then the bytes are kept in memory
///   anything else               refused
class AtomicFile {
 public:
  /// throws Error(input): a folder, a socket, a block device or a loop of links has that name.
  ///        Error(failed): the folder cannot be written.
  explicit AtomicFile(std::filesystem::path path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  /// Appends. throws Error(failed) that names the file and the system's reason (no space left, ...).
  void write(std::span<const std::byte> bytes);
  void write(std::string_view text);
  /// Overwrites bytes already written (a header whose counts are known last). throws Error(input): into a device or
  /// pipe.
  void write_at(std::size_t offset, std::span<const std::byte> bytes);
  std::size_t size() const { return size_; }
  /// The name until commit; that of the device or pipe that is written into directly.
  const std::filesystem::path& temporary() const { return temporary_; }
  /// throws Error(failed). Interrupted: Ctrl-C while a pipe has no reader, or a slow one.
  void commit();

 private:
  void flush();
  void write_through();
  std::filesystem::path path_, temporary_;
  int fd_ = -1;
  bool direct_ = false;  ///< a device or a pipe
  std::size_t size_ = 0;
  std::string buffer_;
};

/// AtomicFile for bytes already in memory.
void write_file(const std::filesystem::path& path, std::string_view bytes);

/// 16 random hexadecimal digits.
std::string random_digits();
/// `path` with ".tmp-" and 16 random hexadecimal digits behind it. Process numbers would not do: in a container every
/// process may be number 1.
std::filesystem::path temporary_name(const std::filesystem::path& path);
/// Whether a file's name is one that temporary_name makes, or that earlier versions made.
bool is_temporary_name(std::string_view name);
/// Removes files with temporary names from a folder. Only for whoever holds the folder's lock (file_lock.h): they may
/// be those of a process at work. What cannot be removed stays.
void remove_temporaries(const std::filesystem::path& folder);

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
