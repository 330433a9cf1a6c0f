#include <gtest/gtest.h>

#include <vector>

#include "lowbit/files/json.h"
#include "lowbit/nn/load.h"
#include "lowbit/run/engine.h"

// A random Qwen3 of 6,256 parameters (grouped queries, heads wider than width / heads, normed q and k) as the
// transformers library 5.23 saved it, and its logits there in float64.
namespace lowbit {
namespace {

TEST(Qwen3, FolderOfTheTransformersLibraryGivesItsLogits) {
  const std::filesystem::path folder(LOWBIT_TEST_QWEN3);
  const files::Json golden = files::read_json(folder / "golden.json");
  const auto ids = golden.at("ids").get<std::vector<std::int32_t>>();
  ThreadPool pool(2);
  const nn::LlamaWeights weights = nn::load_llama(pool, model::ModelFolder(folder), ids.size());
  EXPECT_TRUE(weights.config.qk_norm);
  run::Engine engine(pool, weights, 7);
  run::Sequence sequence(weights, ids.size());
  std::vector<float> logits(ids.size() * 24);
  engine.feed_all(sequence, ids, logits.data());
  for (std::size_t i = 0; i < ids.size(); ++i)
    for (std::size_t j = 0; j < 24; ++j)
      EXPECT_NEAR(logits[24 * i + j], golden.at("logits").at(i).at(j).get<double>(), 1e-5)
          << "token " << i << ", logit " << j;
}

}  // namespace
}  // namespace lowbit
