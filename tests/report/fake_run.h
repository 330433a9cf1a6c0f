#pragma once
#include <filesystem>

#include "lowbit/report/metrics.h"

namespace lowbit::report::test {

/// A run.json as a real run of a small w4a4 model writes it.
RunInfo fake_info(std::int64_t steps = 200);

/// Writes run.json and metrics.jsonl of a run that looks like a real one, with its noise, into the folder.
void write_fake_run(const std::filesystem::path& folder, std::int64_t steps = 200, int layers = 4);

}  // namespace lowbit::report::test
