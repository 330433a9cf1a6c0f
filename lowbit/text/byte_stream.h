#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

namespace lowbit::text {

/// The bytes of a file, one after another, unpacked on the way.
class ByteStream {
 public:
  virtual ~ByteStream() = default;
  /// Fills `out` (not empty) as far as there are bytes. returns how many; 0 at the end and only there.
  /// throws Error(input): the file cannot be read, or the archive is damaged, cut short, or followed by other bytes.
  virtual std::size_t read(std::span<char> out) = 0;
  /// Bytes taken from the file so far (packed ones), for progress.
  virtual std::uint64_t consumed() const = 0;
};

/// Opens a file as it is, or unpacks it: xz (several streams too), zstd (several frames too), gzip (several members
/// too), known by their first bytes.
/// throws Error(input): not found, a folder, empty, or named .xz, .zst or .gz and none.
std::unique_ptr<ByteStream> open_bytes(const std::filesystem::path& path);

/// The file's name without .xz, .zst or .gz.
std::string unpacked_name(const std::filesystem::path& path);

}  // namespace lowbit::text
