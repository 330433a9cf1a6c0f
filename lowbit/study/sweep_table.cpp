#include "lowbit/study/sweep_table.h"

#include <fmt/format.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>

#include "lowbit/base/progress.h"

namespace lowbit::study {
namespace {

using State = CellState::State;
constexpr auto kPlainEvery = std::chrono::seconds(60);

/// What a running cell still takes, by its own pace; NaN before its first steps.
double own_seconds_left(const CellState& c) {
  if (c.step < 1 || !(c.tok_s > 0)) return NAN;
  const double pace = c.seconds > 0 && c.step > 5 ? static_cast<double>(c.step) / c.seconds
                                                  : c.tok_s / static_cast<double>(c.tokens_per_step);
  return static_cast<double>(c.steps - c.step) / pace;
}

std::string line_of(const CellState& c, std::size_t name_width) {
  const auto known = [](double value, auto text) { return std::isfinite(value) ? text(value) : std::string(); };
  std::string name = c.cell.name;
  if (name.size() > name_width)
    name = name.substr(0, name_width - 11) + ".." + c.cell.name.substr(c.cell.name.size() - 9);
  std::string rest;
  if (c.state == State::failed || c.state == State::stopped)
    rest = c.message;
  else if (c.state == State::waiting)
    rest = c.begun ? "started earlier" : known(c.foretold_seconds, [](double s) { return "about " + human_time(s); });
  else
    rest = fmt::format("{:>13}  {:>7}  {:>8}  {}", fmt::format("{}/{}", c.step, c.steps),
                       known(c.loss, [](double v) { return fmt::format("{:.4f}", v); }),
                       known(c.tok_s, [](double v) { return human_count(v); }),
                       c.state == State::done
                           ? "took " + human_time(c.seconds)
                           : known(own_seconds_left(c), [](double s) { return human_time(s) + " left"; }));
  return fmt::format("{:<{}}  {:<7}  {}", name, name_width, name_of(c.state), rest);
}

std::string summary(const std::vector<CellState>& cells, int jobs) {
  int count[5] = {};
  for (const CellState& c : cells) ++count[static_cast<int>(c.state)];
  std::string text = fmt::format("{} of {} cells done", count[static_cast<int>(State::done)], cells.size());
  for (const State state : {State::running, State::waiting, State::failed, State::stopped})
    if (const int n = count[static_cast<int>(state)]) text += fmt::format(", {} {}", n, name_of(state));
  const double left = seconds_left(cells, jobs);
  if (std::isfinite(left) && left > 0) text += fmt::format("; about {} left", human_time(left));
  return text;
}

}  // namespace

double seconds_left(const std::vector<CellState>& cells, int jobs) {
  // What was foretold knows the products' speed alone: how much slower the machine really is shows as runs go.
  double took = 0, foretold = 0;
  for (const CellState& c : cells)
    if (std::isfinite(c.foretold_seconds) && c.step > 0 && c.steps > 0 && c.seconds > 0) {
      took += c.seconds;
      foretold += c.foretold_seconds * static_cast<double>(c.step) / static_cast<double>(c.steps);
    }
  const double slower = foretold > 0 ? took / foretold : 1;
  double work = 0, longest = 0;
  for (const CellState& c : cells) {
    if (c.state != State::running && c.state != State::waiting) continue;
    double left = c.state == State::running ? own_seconds_left(c) : NAN;
    if (!std::isfinite(left)) left = c.foretold_seconds * slower;
    if (!std::isfinite(left)) return NAN;
    work += left;
    longest = std::max(longest, left);
  }
  return std::max(longest, work / std::max(jobs, 1));
}

std::string table_text(const std::vector<CellState>& cells, int jobs, int rows, int columns) {
  std::size_t name_width = 4;
  for (const CellState& c : cells) name_width = std::max(name_width, c.cell.name.size());
  name_width = std::min<std::size_t>(name_width, static_cast<std::size_t>(std::max(24, columns - 56)));
  // Of more cells than lines, those that run and that failed, then the last that ended, then those to come.
  std::vector<const CellState*> shown;
  for (const CellState& c : cells) shown.push_back(&c);
  const std::size_t room = static_cast<std::size_t>(std::max(rows - 3, 4));
  if (shown.size() > room) {
    const auto rank = [](const CellState* c) {
      return c->state == State::running                                ? 0
             : c->state == State::failed || c->state == State::stopped ? 1
             : c->state == State::waiting                              ? 2
                                                                       : 3;
    };
    std::stable_sort(shown.begin(), shown.end(), [&](auto* a, auto* b) { return rank(a) < rank(b); });
    shown.resize(room);
    std::sort(shown.begin(), shown.end());  // back into the plan's order
  }
  std::string out;
  const auto put = [&](std::string line) {
    // Longer lines would wrap, and the table would be drawn over itself. Names are ASCII; messages are cut at a letter.
    if (line.size() >= static_cast<std::size_t>(columns)) {
      line.resize(static_cast<std::size_t>(columns) - 1);
      while (!line.empty() && (static_cast<unsigned char>(line.back()) & 0xC0) == 0x80) line.pop_back();
    }
    out += line + '\n';
  };
  put(summary(cells, jobs));
  put(fmt::format("{:<{}}  {:<7}  {:>13}  {:>7}  {:>8}", "cell", name_width, "state", "step", "loss", "tok/s"));
  for (const CellState* c : shown) put(line_of(*c, name_width));
  return out;
}

SweepView::SweepView(int jobs, bool live) : jobs_(jobs), live_(live), told_(std::chrono::steady_clock::now()) {}
SweepView::~SweepView() = default;

void SweepView::draw(const std::vector<CellState>& cells) {
  winsize size{};
  const bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  const std::string text =
      table_text(cells, jobs_, known ? size.ws_row : 24, known ? std::max<int>(size.ws_col, 40) : 80);
  std::string out = drawn_ > 0 ? fmt::format("\x1b[{}A", drawn_) : std::string();
  out += "\x1b[J" + text;
  fputs(out.c_str(), stderr);
  drawn_ = static_cast<int>(std::count(text.begin(), text.end(), '\n'));
}

void SweepView::operator()(const std::vector<CellState>& cells, const CellState* changed) {
  if (live_) return draw(cells);
  const auto now = std::chrono::steady_clock::now();
  if (changed) {
    std::string what{name_of(changed->state)};
    if (changed->state == State::running)
      what = changed->begun ? "goes on" : "starts";
    else if (changed->state == State::done)
      what += fmt::format("  loss {:.4f} in {}", changed->loss, human_time(changed->seconds));
    else
      what += "  " + changed->message;
    fmt::print(stderr, "{}  {}\n", changed->cell.name, what);
  } else if (now - told_ > kPlainEvery) {
    told_ = now;
    for (const CellState& c : cells)
      if (c.state == State::running) fmt::print(stderr, "{}\n", line_of(c, c.cell.name.size()));
    fmt::print(stderr, "{}\n", summary(cells, jobs_));
  }
}

}  // namespace lowbit::study
