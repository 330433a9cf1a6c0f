#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "lowbit/report/metrics.h"

namespace lowbit::report {

/// The figures that sum up a run, from its records. NaN and nothing stand for "not known".
struct Outcome {
  enum class Status { running, finished, interrupted, stopped } status = Status::running;
  std::int64_t step = 0;           ///< last update recorded
  std::int64_t planned_steps = 0;  ///< 0: not known
  std::int64_t tokens = 0;
  double seconds = kUnknown;     ///< of training
  double train_loss = kUnknown;  ///< mean of the last updates, nats per token
  int train_loss_steps = 0;      ///< how many those are: a twentieth of the run, 10 to 100
  double tok_s = kUnknown;       ///< median over the updates, as the next
  double peak_share = kUnknown;
  std::optional<EvalRecord> eval;  ///< the last one
  std::int64_t stored_bytes = 0;
  double bits_per_block_weight = kUnknown;  ///< codes and scales over the weights that the format codes
  double bits_per_parameter = kUnknown;     ///< everything over everything
  std::optional<std::int64_t> broken_step;  ///< first update whose loss is not finite
};
Outcome outcome_of(const RunRecords& records);

/// "finished", "interrupted", "stopped", "in progress".
std::string status_text(Outcome::Status status);

/// What is printed when a training run ends: model, steps, tokens, time, losses with intervals, size as stored, where
/// the files are, and the commands to type next. Several lines, ASCII but for names and paths, a line feed at the end.
std::string closing_summary(const RunRecords& records, const std::filesystem::path& run_folder);

}  // namespace lowbit::report
