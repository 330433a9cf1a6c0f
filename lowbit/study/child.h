#pragma once
#include <sys/types.h>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace lowbit::study {

/// A program that runs beside this one. It is out of reach of the terminal's Ctrl-C, which is for its starter to pass
/// on, and gets SIGTERM should its starter die, so that a training run saves and stops.
class Child {
 public:
  /// Starts it: standard input empty, both outputs appended to a file. throws Error(failed).
  Child(const std::vector<std::string>& arguments, const std::filesystem::path& output);
  ~Child();  ///< one that is still running is asked to stop, and killed when it has not within a minute
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  /// Its exit code once it has ended (128 + signal when a signal ended it), without waiting.
  std::optional<int> ended();
  /// Asks it to stop, as Ctrl-C does.
  void interrupt();
  /// Ends it at once. For what has nothing to save.
  void kill_now();
  pid_t id() const { return id_; }

 private:
  pid_t id_ = -1;
  std::optional<int> exit_code_;
};

/// The whole lines among the last 64 kB of a file; nothing when it cannot be read.
std::string last_lines(const std::filesystem::path& file);
/// The last line that is not empty, without its line feed, whole or not.
std::string last_line(const std::filesystem::path& file);

}  // namespace lowbit::study
