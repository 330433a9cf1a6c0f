#include "lowbit/base/progress.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>

#include <fmt/format.h>

namespace lowbit {
namespace {

using Clock = std::chrono::steady_clock;
double seconds_between(Clock::time_point a, Clock::time_point b) {
  return std::chrono::duration<double>(b - a).count();
}

std::string with_prefix(double value, std::string_view unit) {
  constexpr std::array<std::string_view, 5> prefixes{"", "k", "M", "G", "T"};
  std::size_t i = 0;
  while (value >= 999.5 && i + 1 < prefixes.size()) {
    value /= 1000;
    ++i;
  }
  const int digits = i == 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  return fmt::format("{:.{}f} {}{}", value, digits, prefixes[i], unit);
}

}  // namespace

std::string human_bytes(double bytes) { return with_prefix(bytes, "B"); }
std::string human_count(double count) {
  std::string text = with_prefix(count, "");
  if (text.ends_with(' ')) text.pop_back();
  return text;
}

std::string human_time(double seconds) {
  if (seconds < 60) return fmt::format("{:.1f} s", seconds);
  const auto whole = static_cast<long>(seconds + 0.5);
  if (whole < 3600) return fmt::format("{}m {:02}s", whole / 60, whole % 60);
  return fmt::format("{}h {:02}m", whole / 3600, whole % 3600 / 60);
}

Progress::Progress(std::string what, std::string unit, double total, bool force)
    : what_(std::move(what)), unit_(std::move(unit)), total_(total), shown_(force || isatty(STDERR_FILENO)),
      start_(Clock::now()), drawn_(start_ - std::chrono::seconds(1)) {}

Progress::~Progress() { finish(); }

void Progress::update(double done, std::string_view note) {
  if (!shown_ || ended_) return;
  const auto now = Clock::now();
  if (seconds_between(drawn_, now) < 0.1 && !(total_ > 0 && done >= total_)) return;
  drawn_ = now;
  draw(done, note);
}

void Progress::draw(double done, std::string_view note) {
  const double elapsed = std::max(1e-3, seconds_between(start_, Clock::now()));
  const double rate = done / elapsed;
  std::string text = what_;
  if (total_ > 0) {
    constexpr int width = 24;
    const double share = std::clamp(done / total_, 0.0, 1.0);
    const int filled = static_cast<int>(share * width);
    text += fmt::format(" [{}{}] {:3.0f} %", std::string(static_cast<std::size_t>(filled), '='),
                        std::string(static_cast<std::size_t>(width - filled), ' '), 100 * share);
  }
  text += fmt::format("  {}  {}/s", with_prefix(done, unit_), with_prefix(rate, unit_));
  if (total_ > 0 && rate > 0) text += fmt::format("  {} left", human_time(std::max(0.0, (total_ - done) / rate)));
  if (!note.empty()) text += fmt::format("  {}", note);
  last_ = text;
  fmt::print(stderr, "\r\x1b[K{}", text);
  std::fflush(stderr);
}

void Progress::line(std::string_view text) {
  if (!shown_) {
    fmt::print(stderr, "{}\n", text);
    return;
  }
  fmt::print(stderr, "\r\x1b[K{}\n{}", text, last_);
  std::fflush(stderr);
}

void Progress::finish() {
  if (shown_ && !ended_ && !last_.empty()) fmt::print(stderr, "\n");
  ended_ = true;
}

}  // namespace lowbit
