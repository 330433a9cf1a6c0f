#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string_view>

#include "lowbit/report/append_file.h"
#include "lowbit/report/metrics.h"
#include "lowbit/report/tensorboard.h"

namespace lowbit::report {

/// Cuts metrics.jsonl back: lines of later steps, lines that are no record and a torn last line go, the others keep
/// their bytes. No file is fine. Atomic. throws Error(failed), and Error(input) when the file cannot be read.
void cut_metrics(const std::filesystem::path& path, std::int64_t last_step);

/// What a training run writes as it goes: metrics.jsonl and an event file for TensorBoard in the run folder. A line is
/// with the system when add() returns, so a killed run keeps it.
class RunLog {
 public:
  static constexpr std::string_view kMetricsFile = "metrics.jsonl";
  static constexpr std::string_view kEventFile = "events.out.tfevents.0.lowbit";

  /// resumed_step  the checkpoint's step, 0 for a fresh start: what both files hold of later steps is cut off.
  /// throws Error: failed when the folder cannot be written, input when a file there is not what it should be.
  RunLog(const std::filesystem::path& run_folder, std::int64_t resumed_step);

  void add(const StepRecord& record);
  void add(const EvalRecord& record);
  void add(const MasksRecord& record);
  void add(const BitsRecord& record);
  void add(const SampleRecord& record);
  void add(const EventRecord& record);
  /// Makes all of it survive a power cut; called when a checkpoint is saved.
  void sync();

 private:
  AppendFile metrics_;
  EventFile events_;
};

}  // namespace lowbit::report
