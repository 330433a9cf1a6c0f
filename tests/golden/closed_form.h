#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "golden/reference_model.h"
#include "lowbit/files/json.h"
#include "support/golden.h"

// The golden runs that lie in the repository: ten steps of a tiny Llama that tests/golden/make_golden.py computes from
// the formulas in float64, in another language and without a line of ours. They need no LOWBIT_TEST_DATA.
namespace lowbit::golden::closed_form {

inline const std::filesystem::path kFolder = LOWBIT_TEST_CLOSED_FORM;

// As in make_golden.py.
inline constexpr std::size_t kSteps = 10, kWarmup = 3, kSequences = 2, kLength = 16, kVocabulary = 64;
inline constexpr std::size_t kTokens = kSequences * kLength;
inline constexpr double kPeak = 2e-3;
inline constexpr ModelShape kShape{2, 32, 2, 16, 64, kVocabulary};

inline files::SafetensorsFile weights() { return files::SafetensorsFile(kFolder / "init.safetensors"); }
inline test::GoldenRun run(const std::string& name) { return test::load_golden_run(kFolder / "golden.json", name); }

/// [steps + 1][sequences, length + 1] ids
inline std::vector<std::vector<std::uint16_t>> batches() {
  std::vector<std::vector<std::uint16_t>> out;
  const files::Json json = files::read_json(kFolder / "golden.json");
  for (const auto& batch : json.at("batches")) {
    out.emplace_back();
    for (const auto& window : batch)
      for (const auto& id : window) out.back().push_back(id.get<std::uint16_t>());
  }
  return out;
}

}  // namespace lowbit::golden::closed_form
