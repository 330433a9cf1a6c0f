#pragma once
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace lowbit {

/// A bar on standard error with rate and time left; nothing unless standard error is a terminal (or `force`).
/// Redrawn at most ten times a second, so update() may be called as often as one likes.
class Progress {
 public:
  /// what   e.g. "tokens"; unit of the rate, e.g. "MB"; total in units, 0 when not known.
  Progress(std::string what, std::string unit, double total, bool force = false);
  ~Progress();  ///< ends the line
  void update(double done, std::string_view note = {});
  void finish();
  /// Prints a line above the bar.
  void line(std::string_view text);
  bool shown() const { return shown_; }

 private:
  void draw(double done, std::string_view note);
  std::string what_, unit_, last_;
  double total_;
  bool shown_;
  bool ended_ = false;
  std::chrono::steady_clock::time_point start_, drawn_;
};

/// "3.2 GB", "415 kB": powers of 1000, as disks are sold.
std::string human_bytes(double bytes);
/// "1h 04m", "3m 12s", "8.4 s".
std::string human_time(double seconds);
/// "12.3 M", "841 k": powers of 1000.
std::string human_count(double count);

}  // namespace lowbit
