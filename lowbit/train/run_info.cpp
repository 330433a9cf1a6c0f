#include "lowbit/train/run_info.h"

#include <algorithm>
#include <cmath>

#include "lowbit/base/file_write.h"
#include "lowbit/machine/isa.h"
#include "lowbit/model/tensors.h"
#include "lowbit/report/metrics.h"

namespace lowbit::train {
namespace {

report::RunInfo::Sizes packed_sizes(const model::Config& config, const Scheme& scheme) {
  report::RunInfo::Sizes sizes;
  for (const model::TensorSpec& spec : model::tensors(config)) {
    const model::TensorCoding coding = model::coding_of(spec, scheme);
    const auto [codes, scales] = model::stored_bytes(spec, coding.format, coding.weight.scale_group);
    if (spec.linear()) {
      sizes.codes += codes;
      sizes.scales += scales;
    } else {
      (spec.role == model::TensorRole::embedding ? sizes.embedding
       : spec.role == model::TensorRole::head    ? sizes.head
                                                 : sizes.norms) += codes + scales;
    }
    sizes.total += codes + scales;
  }
  return sizes;
}

}  // namespace

void write_run_info(const std::filesystem::path& file, const Options& o, const Scheme& scheme, const Peaks& peaks,
                    const Prediction& prediction, const files::DataIdentity& data) {
  report::RunInfo info;
  info.program = "lowbit " LOWBIT_VERSION;
  info.flags = to_flags(o);
  info.data = data;
  info.format = o.scheme.format.name();
  info.head = o.scheme.head.name();
  info.estimator = name_of(o.scheme.estimator);
  info.transform = name_of(o.scheme.transform);
  const model::Config& c = o.config;
  info.model = {c.layers, c.width, c.heads, c.kv_heads, c.mlp, c.vocab, o.seq, c.parameters(), c.block_parameters()};
  info.steps = o.steps;
  info.tokens_per_step = o.tokens_per_step();
  info.machine = {cpu_features().name, std::string(isa_name(active_isa())), o.threads, peaks.bf16 / 1e9};
  info.predicted = {prediction.memory_bytes, prediction.seconds_per_step * static_cast<double>(o.steps)};
  info.sizes = packed_sizes(c, scheme);
  write_file(file, report::to_json(info));
}

bool is_finished(const std::filesystem::path& run_folder, std::int64_t step) {
  const report::RunRecords records = report::read_run(run_folder);
  return !records.events.empty() && records.events.back().what == "finished" && records.events.back().step == step;
}

bool has_evaluation(const std::filesystem::path& run_folder, std::int64_t step) {
  const report::RunRecords records = report::read_run(run_folder);
  return std::any_of(records.evals.begin(), records.evals.end(), [&](const auto& eval) { return eval.step == step; });
}

double recorded_seconds(const std::filesystem::path& run_folder) {
  const report::RunRecords records = report::read_run(run_folder);
  return records.steps.empty() || !std::isfinite(records.steps.back().seconds) ? 0 : records.steps.back().seconds;
}

}  // namespace lowbit::train
