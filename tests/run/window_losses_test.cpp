#include "lowbit/run/window_losses.h"

#include <gtest/gtest.h>

#include <vector>

#include "lowbit/base/executor.h"
#include "lowbit/base/rng.h"
#include "lowbit/nn/load.h"
#include "model/make_folder.h"
#include "support/data.h"

namespace lowbit::run {
namespace {

TEST(WindowLosses, AWindowInPartsHasTheLossesOfASinglePassBitForBit) {
  const test::TemporaryFolder folder;
  test::write_model(folder.path(), test::small_model(), test::random_tensors(test::small_model()));
  ThreadPool pool(1);
  constexpr std::size_t n = 45, windows = 3;
  const nn::LlamaWeights weights = nn::load_llama(pool, model::ModelFolder(folder.path()), n);
  std::vector<std::int32_t> ids(windows * n), targets(windows * n);
  const Rng rng(3);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    ids[i] = static_cast<std::int32_t>(rng.below(2 * i, 300));
    targets[i] = static_cast<std::int32_t>(rng.below(2 * i + 1, 300));
  }
  const auto losses = [&](std::size_t rows) {
    WindowLosses of(pool, weights, n, rows);
    std::vector<double> found(ids.size());
    of(ids, targets, n, found);
    return found;
  };
  const std::vector<double> whole = losses(4096);
  for (const std::size_t rows : {n, n - 1, std::size_t{16}, std::size_t{7}, std::size_t{1}})
    EXPECT_EQ(losses(rows), whole) << rows;
}

}  // namespace
}  // namespace lowbit::run
