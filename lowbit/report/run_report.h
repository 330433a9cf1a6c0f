#pragma once
#include <filesystem>
#include <string>

#include "lowbit/report/metrics.h"

namespace lowbit::report {

/// One page about a training run: losses, optimizer, masked entries per layer, speed, samples, sizes as stored, every
/// flag, the machine. A single HTML document that loads nothing; the same bytes for the same records.
std::string run_page(const RunRecords& records);

/// Reads run.json and metrics.jsonl of a run folder and writes report.html beside them, whole or not at all. May be
/// called while the run goes on, and for one that was killed. Returns the page's path. throws Error: input when the
/// folder is no run folder (metrics.h, read_run), failed when it cannot be written.
std::filesystem::path write_run_report(const std::filesystem::path& run_folder);

}  // namespace lowbit::report
