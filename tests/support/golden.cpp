#include "support/golden.h"

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
  for (const auto& [name, value] : json.items()) out[name] = {value.at("l2").get<double>(), value.at("sum").get<double>()};
  return out;
}

}  // namespace

std::filesystem::path golden_folder() { return data_folder() / "golden"; }

GoldenRun load_golden_run(const std::string& name) {
  const auto path = golden_folder() / "runs/golden.json";
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
    out.mid = GoldenStep{mid.at("loss").get<double>(), mid.at("grad_norm").get<double>(), mid.at("logits").get<Numbers>(),
                         summaries(mid.at("grad")), mid.at("grad_entries").get<std::map<std::string, Numbers>>()};
  }
  return out;
}

GoldenBatches::GoldenBatches() {
  const auto path = golden_folder() / "runs/batches.bin";
  const std::string bytes = read_file(path);
  ids_.resize(kBatches * kSequences * (kLength + 1));
  if (bytes.size() != ids_.size() * 2) fail_input("{} has {} bytes, not {}", path.string(), bytes.size(), ids_.size() * 2);
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
