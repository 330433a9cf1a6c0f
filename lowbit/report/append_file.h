#pragma once
#include <cstddef>
#include <filesystem>
#include <string_view>

namespace lowbit::report {

/// A file that grows at its end: each append is handed to the system before it returns, so a killed process loses at
/// most the piece that it was writing. Readers of such files pass over a torn last piece.
class AppendFile {
 public:
  /// Opens, and makes the file where there is none. throws Error(failed): the folder cannot be written.
  explicit AppendFile(std::filesystem::path path);
  ~AppendFile();
  AppendFile(const AppendFile&) = delete;
  AppendFile& operator=(const AppendFile&) = delete;

  /// throws Error(failed) that names the file and the system's reason.
  void append(std::string_view bytes);
  /// Makes what was appended survive a power cut. throws Error(failed).
  void sync();

 private:
  std::filesystem::path path_;
  int fd_ = -1;
};

}  // namespace lowbit::report
