#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace lowbit::test {

/// What a made-up run folder holds.
struct MadeUpRun {
  std::string format = "w4a4", estimator = "trust", transform = "hadamard";
  std::int64_t layers = 2, width = 128, mlp = 512, steps = 20, tokens_per_step = 1024, seed = 0;
  std::int64_t done = 20;                                       ///< steps recorded
  bool evaluated = true;                                        ///< the evaluation of the last recorded step is written
  std::vector<std::pair<std::string, std::string>> flags = {};  ///< further ones
  double loss = 3.25;                                           ///< held out, at the end
  double seconds = 40;                                          ///< of training
};

/// Writes run.json and metrics.jsonl, as training writes them.
void write_run(const std::filesystem::path& folder, const MadeUpRun& run);
/// Parameters without embeddings: L (4 d^2 + 3 d m + 2 d) + d.
double parameters_of(const MadeUpRun& run);

}  // namespace lowbit::test
