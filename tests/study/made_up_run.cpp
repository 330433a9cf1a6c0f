#include "study/made_up_run.h"

#include <fmt/format.h>

#include <fstream>

#include "lowbit/report/metrics.h"

namespace lowbit::test {

double parameters_of(const MadeUpRun& run) {
  return static_cast<double>(run.layers * (4 * run.width * run.width + 3 * run.width * run.mlp + 2 * run.width) +
                             run.width);
}

void write_run(const std::filesystem::path& folder, const MadeUpRun& run) {
  std::filesystem::create_directories(folder);
  report::RunInfo info;
  info.program = "lowbit 0.1.0";
  info.flags = {{"format", run.format}, {"seed", fmt::format("{}", run.seed)}, {"lr", "0.01"}};
  info.flags.insert(info.flags.end(), run.flags.begin(), run.flags.end());
  info.format = run.format;
  info.estimator = run.estimator;
  info.transform = run.transform;
  const std::int64_t blocks = run.layers * (4 * run.width * run.width + 3 * run.width * run.mlp);
  info.model = {run.layers, run.width, 2, 2, run.mlp, 512, 128, blocks + 512 * run.width * 2, blocks};
  info.steps = run.steps;
  info.tokens_per_step = run.tokens_per_step;
  info.sizes = {blocks / 2, 4000, 65536, 65536, 512, blocks / 2 + 4000 + 2 * 65536 + 512};
  std::ofstream(folder / "run.json") << report::to_json(info);
  std::ofstream metrics(folder / "metrics.jsonl");
  for (std::int64_t step = 1; step <= run.done; ++step) {
    const double share = static_cast<double>(step) / static_cast<double>(run.steps);
    metrics << report::to_line(report::StepRecord{step, run.loss + 2 * (1 - share), 0.01, 0.5,
                                                  step * run.tokens_per_step, run.seconds * share, 512, 0.4});
  }
  if (run.evaluated && run.done > 0) {
    report::EvalRecord eval;
    eval.step = run.done;
    eval.nats_per_token = run.loss;
    eval.nats_per_token_interval = report::Interval{run.loss - 0.05, run.loss + 0.05};
    eval.tokens = 5000;
    metrics << report::to_line(eval);
    report::MasksRecord masks{run.done, {}};
    for (std::int64_t layer = 0; layer < run.layers; ++layer)
      masks.layers.push_back(
          {fmt::format("model.layers.{}.self_attn.q_proj", layer), 0.01, 0.02 + 0.01 * static_cast<double>(layer)});
    metrics << report::to_line(masks) << report::to_line(report::SampleRecord{run.done, "", "and it came to pass"});
  }
}

}  // namespace lowbit::test
