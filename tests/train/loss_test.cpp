#include <gtest/gtest.h>

#include "lowbit/base/executor.h"
#include "lowbit/files/json.h"
#include "lowbit/nn/load.h"
#include "lowbit/run/window_losses.h"
#include "lowbit/train/feed.h"
#include "train/support.h"

namespace lowbit::test {
namespace {

namespace fs = std::filesystem;

/// Losses of the steps in a run's metrics.jsonl, in order.
std::vector<double> recorded_losses(const fs::path& run) {
  std::vector<double> losses;
  std::istringstream lines(bytes_of(run / "metrics.jsonl"));
  for (std::string line; std::getline(lines, line);) {
    const files::Json json = files::parse_json(line, "metrics.jsonl");
    if (json.at("kind") == "step") losses.push_back(json.at("loss").get<double>());
  }
  return losses;
}

TEST(RecordedLoss, IsThatOfTheInferenceEngineOnTheSameBatchAndWeightsToTheLastBit) {
  const TemporaryFolder folder;
  write_batches(folder / "b", 24, 32, 1);
  std::vector<std::string> arguments = small_run(folder / "b", folder / "run", 6);
  arguments.insert(arguments.end(), {"--checkpoint-every", "1", "--keep", "10"});
  const Outcome run = run_program(arguments);
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const std::vector<double> losses = recorded_losses(folder / "run");
  ASSERT_EQ(losses.size(), 6u);
  EXPECT_LT(losses.back(), losses.front());
  const auto feed = train::batches_feed(folder / "b", 32, 64);
  ThreadPool pool(2);
  for (std::size_t step = 0; step < 6; ++step) {
    // The weights before update s are those of checkpoint s - 1.
    const model::ModelFolder model(folder / "run" / "checkpoints" / ("step-" + std::to_string(step)));
    const nn::LlamaWeights weights = nn::load_llama(pool, model, 32);
    run::WindowLosses window_losses(pool, weights, 32, 64);
    std::vector<std::int32_t> ids(4 * 32), targets(4 * 32);
    for (std::size_t i = 0; i < 4; ++i)
      feed->window(step * 4 + i, std::span(ids).subspan(i * 32, 32), std::span(targets).subspan(i * 32, 32));
    std::vector<double> nats(ids.size());
    window_losses(ids, targets, 32, nats);
    double sum = 0;
    for (const double loss : nats) sum += loss;
    EXPECT_EQ(losses[step], static_cast<double>(static_cast<float>(sum / static_cast<double>(nats.size()))))
        << "step " << step + 1;
  }
}

}  // namespace
}  // namespace lowbit::test
