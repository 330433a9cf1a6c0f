#pragma once
#include <chrono>
#include <string>
#include <vector>

#include "lowbit/study/sweep.h"

namespace lowbit::study {

/// A table of cells that is drawn anew in its place: a line a cell with state, step, loss, speed and time left, and a
/// line over all. rows, columns: of the terminal; with more cells than rows those that run and that failed come first.
std::string table_text(const std::vector<CellState>& cells, int jobs, int rows, int columns);

/// Seconds until the last cell ends, by the pace of those that run or ran; NaN before one is known.
double seconds_left(const std::vector<CellState>& cells, int jobs);

/// Shows a sweep on standard error: on a terminal the table, redrawn; otherwise a line for each change and one a
/// minute.
class SweepView {
 public:
  SweepView(int jobs, bool live);
  ~SweepView();
  void operator()(const std::vector<CellState>& cells, const CellState* changed);

 private:
  void draw(const std::vector<CellState>& cells);
  int jobs_;
  bool live_;
  int drawn_ = 0;  ///< lines of the table on the screen
  std::chrono::steady_clock::time_point told_;
};

}  // namespace lowbit::study
