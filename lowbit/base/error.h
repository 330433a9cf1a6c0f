#pragma once
#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace lowbit {

/// Why an operation stopped; the program's exit code follows from it (docs/explain/tour.md, "Errors").
enum class ErrorKind {
  usage,   ///< wrong use of a flag or a verb: exit code 2
  input,   ///< a file, text or number that cannot be used, or what is predicted not to fit: exit code 2
  failed,  ///< the machine failed us: full disk, failed write, NaN loss: exit code 1
};

/// What a user can cause. One line: what was found, where, what to do. What only we can cause is an assert.
class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, std::string message) : std::runtime_error(std::move(message)), kind_(kind) {}
  ErrorKind kind() const { return kind_; }
  int exit_code() const { return kind_ == ErrorKind::failed ? 1 : 2; }

 private:
  ErrorKind kind_;
};

/// Thrown where long work notices Ctrl-C, after it has saved what it promises to save: exit code 130.
class Interrupted : public std::runtime_error {
 public:
  explicit Interrupted(std::string message) : std::runtime_error(std::move(message)) {}
};

[[noreturn]] void throw_error(ErrorKind kind, std::string message);

template <class... Args>
[[noreturn]] void fail_usage(fmt::format_string<Args...> format, Args&&... args) {
  throw_error(ErrorKind::usage, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
[[noreturn]] void fail_input(fmt::format_string<Args...> format, Args&&... args) {
  throw_error(ErrorKind::input, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  throw_error(ErrorKind::failed, fmt::format(format, std::forward<Args>(args)...));
}

/// The text of errno, for messages.
std::string errno_text(int error_number);

}  // namespace lowbit
