#include "support/golden.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>

#include "lowbit/base/error.h"
#include "lowbit/base/file_map.h"
#include "lowbit/files/json.h"
#include "support/data.h"

namespace lowbit::test {
namespace {

using Numbers = std::vector<double>;

std::map<std::string, TensorSummary> summaries(const nlohmann::json& json) {
  std::map<std::string, TensorSummary> out;
  for (const auto& [name, value] : json.items())
    out[name] = {value.at("l2").get<double>(), value.at("sum").get<double>()};
  return out;
}

}  // namespace

std::filesystem::path golden_folder() { return data_folder() / "golden"; }

GoldenRun load_golden_run(const std::string& name) {
  return load_golden_run(golden_folder() / "runs/golden.json", name);
}

GoldenRun load_golden_run(const std::filesystem::path& path, const std::string& name) {
  const nlohmann::json all = files::parse_large_json(read_file(path), path.string());
  const auto& variants = all.at("variants");
  const auto found = variants.find(name);
  if (found == variants.end()) fail_input("{} has no run '{}'", path.string(), name);
  const auto& run = *found;
  GoldenRun out;
  out.name = name;
  out.loss = run.at("loss").get<Numbers>();
  out.grad_norm = run.at("grad_norm").get<Numbers>();
  out.lr = run.at("lr").get<Numbers>();
  out.extra_loss = run.at("extra_loss").get<double>();
  out.step0.loss = out.loss.at(0);
  out.step0.grad_norm = out.grad_norm.at(0);
  out.step0.logits = run.at("logits0").get<Numbers>();
  out.step0.grad = summaries(run.at("grad0"));
  out.step0.entries = run.at("grad0_entries").get<std::map<std::string, Numbers>>();
  out.params_end = summaries(run.at("params_end"));
  if (run.contains("init_losses")) out.init_losses = run.at("init_losses").get<Numbers>();
  if (run.contains("mid")) {
    const auto& mid = run.at("mid");
    out.mid =
        GoldenStep{mid.at("loss").get<double>(), mid.at("grad_norm").get<double>(), mid.at("logits").get<Numbers>(),
                   summaries(mid.at("grad")), mid.at("grad_entries").get<std::map<std::string, Numbers>>()};
  }
  return out;
}

LossTolerance loss_tolerance(const std::string& name, bool bf16_backward) {
  const std::string word = name.substr(0, name.find('@'));
  const auto is = [&word](std::initializer_list<const char*> names) {
    return std::any_of(names.begin(), names.end(), [&](const char* n) { return word == n; });
  };
  constexpr double kSane = 1;  // "sanity only"
  if (is({"none"})) {
    if (bf16_backward) return {{1e-6, 5e-6, 2e-4, 4e-4, 3e-3}, {1e-4, 1e-3}};
    return {{1e-6, 3e-6, 3e-6, 5e-6, 5e-6}, {1e-6, 1e-6}};
  }
  if (is({"w8a8"})) return {{3e-4, 1e-3, 1e-3, 5e-3, 4e-2}, {2e-3, 1e-2}};
  if (is({"w4a4", "w4a8", "fp4", "fp4-paper", "w4a4+2:4", "w4a4-gaussian"}))
    return {{5e-4, 4e-3, 6e-3, 2e-2, 0.1}, {6e-3, 2e-2}};
  if (is({"w3a3"})) return {{5e-4, 5e-3, 2e-2, 2e-2, 0.1}, {6e-3, 3e-2}};
  if (is({"w2a2"})) return {{1e-3, 1.2e-2, 1.5e-2, 4e-2, 0.2}, {8e-3, 3e-2}};
  if (is({"w2a8"})) return {{1e-3, 1.2e-2, 1.5e-2, 4e-2, kSane}, {8e-3, 0.1}};
  // Step 0: 7 % of the gate outputs are exact zeros, which floor puts into the upper cell and the golden run into
  // either by chance: 1.4e-3 in exact arithmetic. With the rule of @tie0 it is 0 against @tie0.
  if (is({"w1a1-nohadamard"})) return {{2e-3, 1e-2, 3e-2, 3e-2, 0.2}, {1.2e-2, 6e-2}};
  if (is({"w1a1"})) return {{1e-4, 4e-3, 1.5e-2, 3e-2, 0.15}, {1.2e-2, 6e-2}};
  // The README took this row over from w2a16. Measured here, ten runs with weights perturbed by 6e-8, float and double,
  // either mask: up to 1.5e-2 and 0.2, means 7e-4 and 3.1e-2 (the closed mask in double alone: 0.1).
  if (is({"w2a16-full"})) return {{2e-6, 1e-3, 5e-3, 3e-2, 0.4}, {2e-3, 6e-2}};
  if (is({"w4a16", "w4a16-full"})) return {{2e-6, 1e-3, 2e-3, 1e-2, 3e-2}, {2e-3, 1e-2}};
  if (is({"w2a16"})) return {{2e-6, 1e-3, 5e-3, 1.5e-2, 5e-2}, {2e-3, 1e-2}};
  if (is({"w1a16", "w1a16-full"})) return {{2e-6, 5e-4, 5e-3, 1e-2, kSane}, {2e-3, 0.1}};
  // The README's runs of clip were not perturbed. Measured here, seven runs: up to 0.31, mean up to 2e-2.
  if (is({"w4a4-clip"})) return {{1e-3, 5e-3, 6e-3, 1e-2, 0.6}, {5e-3, 4e-2}};
  if (is({"w4a4-nohadamard", "w4a4-ste", "w4a4-absmax"})) return {{1e-3, 5e-3, 6e-3, 1e-2, 0.2}, {5e-3, 3e-2}};
  fail_input("no tolerance is known for the golden run '{}'", name);
}

std::string compare_losses(const GoldenRun& golden, std::span<const double> losses, const LossTolerance& tolerance) {
  if (losses.size() != golden.loss.size()) return fmt::format("{} losses, not {}\n", losses.size(), golden.loss.size());
  constexpr std::array<std::size_t, 6> kBegin{0, 1, 4, 10, 20, 40};
  std::string out;
  for (std::size_t range = 0; range + 1 < kBegin.size(); ++range) {
    double largest = 0, sum = 0;
    for (std::size_t i = kBegin[range]; i < kBegin[range + 1]; ++i) {
      const double difference = losses[i] - golden.loss[i];
      sum += difference;
      if (!(std::abs(difference) <= largest)) largest = std::abs(difference);
    }
    const auto check = [&](const char* what, double value, double bound) {
      if (!(std::abs(value) <= bound))
        out += fmt::format("{}: {} difference of the losses of steps {} to {} is {:.3g}, more than {}\n", golden.name,
                           what, kBegin[range], kBegin[range + 1] - 1, value, bound);
    };
    check("the largest", largest, tolerance.largest[range]);
    if (range >= 3)
      check("the mean", sum / static_cast<double>(kBegin[range + 1] - kBegin[range]), tolerance.mean[range - 3]);
  }
  return out;
}

GoldenBatches::GoldenBatches() {
  const auto path = golden_folder() / "runs/batches.bin";
  const std::string bytes = read_file(path);
  ids_.resize(kBatches * kSequences * (kLength + 1));
  if (bytes.size() != ids_.size() * 2)
    fail_input("{} has {} bytes, not {}", path.string(), bytes.size(), ids_.size() * 2);
  std::memcpy(ids_.data(), bytes.data(), bytes.size());
}

std::span<const std::uint16_t> GoldenBatches::batch(std::size_t b) const {
  constexpr std::size_t kSize = kSequences * (kLength + 1);
  return std::span(ids_).subspan(b * kSize, kSize);
}

EntrySlice parse_entry_slice(const std::string& text) {
  EntrySlice out;
  const std::size_t bracket = text.find('[');
  out.tensor = text.substr(0, bracket);
  if (bracket == std::string::npos ||
      std::sscanf(text.c_str() + bracket, "[%zu,%zu:%zu]", &out.row, &out.first, &out.last) != 3)
    fail_input("'{}' is not tensor[row,first:last]", text);
  return out;
}

}  // namespace lowbit::test
