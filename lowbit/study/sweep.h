#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "lowbit/study/runs.h"
#include "lowbit/study/sweep_plan.h"

namespace lowbit::study {

struct SweepOptions {
  std::filesystem::path out;      ///< holds a run folder for each cell, logs/ and results.csv
  std::filesystem::path program;  ///< lowbit-train
  int jobs = 1;                   ///< runs at once
  int threads_each = 1;
  bool dry_run = false;  ///< look into every cell, run none
};

/// A cell and what has become of it.
struct CellState {
  enum class State { waiting, running, done, failed, stopped };
  Cell cell;
  std::filesystem::path folder, log;
  State state = State::waiting;
  bool begun = false;  ///< an earlier sweep left a part of it, which is gone on with
  std::int64_t steps = 0, tokens_per_step = 0, parameters = 0;  ///< as foretold; 0 of a cell that was done before
  std::int64_t memory_bytes = 0, disk_bytes = 0;
  double foretold_seconds = std::numeric_limits<double>::quiet_NaN();
  std::int64_t step = 0;                                   ///< while it runs, the last that is recorded
  double loss = std::numeric_limits<double>::quiet_NaN();  ///< of training while it runs, held out when it is done
  double tok_s = std::numeric_limits<double>::quiet_NaN();
  double seconds = 0;      ///< of training, as recorded
  std::string message;     ///< why it failed or stopped
  std::optional<Run> run;  ///< when done
};
std::string_view name_of(CellState::State state);

/// Watches a sweep: called with the cell that changed its state, and about once a second without one.
using Watch = std::function<void(const std::vector<CellState>& cells, const CellState* changed)>;

/// Runs every cell of a plan that is not done, `jobs` at once, each as `PROGRAM train` in a folder of its own, and goes
/// on with those that were begun. Before the first one starts, every cell has been looked into by `train --dry-run`. A
/// cell that fails does not stop the others. results.csv is written anew after every cell that comes to its end. After
/// Ctrl-C (see base/interrupt.h) the runs are asked to stop, which saves them, and waited for; the cells then say
/// `stopped`. returns the cells, in the plan's order, none waiting or running unless interrupted or dry. throws
/// Error(usage, input): a cell that cannot be run, with its reason; cells that together need more memory or disk than
///        there is; another sweep in this folder. Error(failed): the folder cannot be written.
std::vector<CellState> sweep(const Plan& plan, const SweepOptions& options, const Watch& watch);

/// results.csv: the finished cells, one a line: N,D,format,seed, the flags that vary, loss with its 95 % interval (nats
/// per token, held out), bits per byte, seconds of training, bytes as stored, folder. `lowbit fit --in` reads it.
std::string results_csv(const Plan& plan, const std::vector<CellState>& cells);

}  // namespace lowbit::study
