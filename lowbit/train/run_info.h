#pragma once
#include <filesystem>

#include "lowbit/files/data_identity.h"
#include "lowbit/machine/peak.h"
#include "lowbit/train/options.h"
#include "lowbit/train/predict.h"

namespace lowbit::train {

/// Writes run.json: what was asked for, on which machine, what was predicted, and the sizes as they will be stored
/// packed. scheme   what is stored: of the options, or what was allotted since.
void write_run_info(const std::filesystem::path& file, const Options& options, const Scheme& scheme, const Peaks& peaks,
                    const Prediction& prediction, const files::DataIdentity& data);

/// Whether the last event that metrics.jsonl records is the end of the run, at this step.
bool is_finished(const std::filesystem::path& run_folder, std::int64_t step);
/// Whether metrics.jsonl holds an evaluation of this step.
bool has_evaluation(const std::filesystem::path& run_folder, std::int64_t step);

/// Seconds of training that metrics.jsonl records so far; 0 when there are none.
double recorded_seconds(const std::filesystem::path& run_folder);

}  // namespace lowbit::train
