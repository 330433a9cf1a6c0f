#pragma once
#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <utility>

namespace lowbit {

/// A whole file, mapped read-only. The bytes stay valid, and where they are, until the object dies.
class FileMap {
 public:
  FileMap() = default;
  /// throws Error(input): cannot be opened, is no regular file, or is empty.
  explicit FileMap(const std::filesystem::path& path);
  ~FileMap();
  FileMap(FileMap&& other) noexcept
      : bytes_(std::exchange(other.bytes_, {})), path_(std::move(other.path_)) {}
  FileMap& operator=(FileMap&& other) noexcept {
    std::swap(bytes_, other.bytes_);
    std::swap(path_, other.path_);
    return *this;
  }

  std::span<const std::byte> bytes() const { return bytes_; }
  std::size_t size() const { return bytes_.size(); }
  const std::string& path() const { return path_; }

  /// Bytes [offset, offset + size). throws Error(input) unless all are in the file. No sum, so no overflow.
  std::span<const std::byte> slice(std::size_t offset, std::size_t size) const;

 private:
  std::span<const std::byte> bytes_;
  std::string path_;
};

/// From here on a mapped file that loses bytes while it is read (truncated or damaged under us, a disk error) ends the
/// process with one line that names the file, and code 1. Without this the system kills it by SIGBUS, without a word.
/// What is in memory alone is lost, as with any kill.
void catch_lost_maps();

/// A small file's bytes. throws Error(input): is no regular file, cannot be read, or is larger than `limit` bytes.
std::string read_file(const std::filesystem::path& path, std::size_t limit = std::size_t{1} << 28);
/// The same of what may be a pipe, a terminal or a device too, for files that a person writes: a prompt, flags.
std::string read_stream(const std::filesystem::path& path, std::size_t limit);

}  // namespace lowbit
