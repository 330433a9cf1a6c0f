#pragma once
#include <filesystem>

#include "lowbit/train/options.h"

namespace lowbit::train {

/// Trains, or goes on training (options.resume), in a run folder (docs/reference/formats.md, "Run folder"). Prints what
/// it predicts, a line or a bar per step, and a closing summary. Ctrl-C saves a checkpoint and stops. throws
/// Error(usage, input): what cannot be used, or what is predicted not to fit; Error(failed): a full disk, a failed
/// write, a loss that became NaN (the last checkpoint stays); Interrupted after saving.
void train(const std::filesystem::path& run_folder, const Options& options);

/// The options with which a run folder was started, from its run.json. throws Error(input).
Options recorded_options(const std::filesystem::path& run_folder);

/// Learning rate of a step, counted from 0.
double learning_rate(const Options& options, std::int64_t step);

}  // namespace lowbit::train
