#include "lowbit/train/recipe.h"

#include <algorithm>
#include <cmath>

#include "lowbit/base/error.h"

namespace lowbit::train {
namespace {

constexpr std::int64_t kPublishedFrom = 30'000'000;  // parameters of the blocks
constexpr std::int64_t kPublishedBatch = 262'144;    // tokens a step
constexpr std::int64_t kSmall = 6'000'000;            // up to here batches were compared at one size only
constexpr std::int64_t kBestBatch = 4'096;           // tokens a step of smaller models
constexpr double kBestGain = 5;                      // times the rate of the weights
constexpr std::int64_t kLongEnough = 400;            // steps: 512 and 1024 were measured, 122 diverged

std::int64_t quest_sequence(std::int64_t block_parameters) { return block_parameters >= 12'000'000 ? 512 : 256; }

}  // namespace

double quest_learning_rate(std::int64_t block_parameters) {
  const auto n = static_cast<double>(std::max<std::int64_t>(1, block_parameters));
  // Published: swept at 50m, the inverse of the size above it, 50m's rate at 30m.
  if (block_parameters >= kPublishedFrom) return std::min(1.2e-3, 1.2e-3 * 51.4e6 / n);
  // Measured at 0.5m and 2m with 8,192 tokens a step (docs/explain/recipes.md): 2e-3 and about 1.4e-3.
  return std::min(2e-3, 2e-3 * std::pow(n / 524'288.0, -0.25));
}

void apply_quest_recipe(Options& o, std::int64_t tokens, const Given& given) {
  const std::int64_t n = o.config.block_parameters();
  if (o.seq == 0) o.seq = quest_sequence(n);
  if (o.batch == 0) {
    // Long enough runs matter more than large batches: at least some thousand updates where tokens allow it.
    const std::int64_t per_step = n >= kPublishedFrom ? kPublishedBatch : n >= kSmall ? 16'384 : 8'192;
    o.batch = std::max<std::int64_t>(1, per_step / o.seq);
  }
  if (tokens > 0) o.steps = std::max<std::int64_t>(1, tokens / o.tokens_per_step());
  if (o.steps == 0) fail_usage("say how long to train: --tokens N or --steps N");
  if (o.warmup == 0 && !given.warmup) o.warmup = o.steps / 10;
  if (o.lr == 0) o.lr = quest_learning_rate(n);
  if (o.schedule == "wsd" && o.cooldown == 0 && !given.cooldown) o.cooldown = o.steps / 5;
  // Rows enough to keep the products busy, few enough for the activations to stay small: fixed by the shape alone,
  // because the order of sums depends on it.
  if (o.micro_batch == 0) o.micro_batch = std::clamp<std::int64_t>(4096 / o.seq, 1, o.batch);
  if (o.eval_every == 0) o.eval_every = std::max<std::int64_t>(1, o.steps / 10);
  if (o.eval_tokens == 0) o.eval_tokens = 65'536;
  if (o.checkpoint_every == 0) o.checkpoint_every = std::max<std::int64_t>(1, o.steps / 10);
}

void apply_recipe(Options& o, std::int64_t tokens, const Given& given) {
  if (o.recipe != "quest" && o.recipe != "best")
    fail_usage("unknown --recipe '{}'; this program has quest, best", o.recipe);
  const bool best = o.recipe == "best", choose_rate = o.lr == 0;
  const std::int64_t n = o.config.block_parameters();
  if (best && o.seq == 0) o.seq = quest_sequence(n);
  if (best && o.batch == 0 && n < kSmall) o.batch = std::max<std::int64_t>(1, kBestBatch / o.seq);
  apply_quest_recipe(o, tokens, given);
  if (!best) return;
  const Grid* const weight = o.scheme.format.weight;
  const int levels = weight ? weight->levels : 0;
  if (!given.qk_norm) o.config.qk_norm = true;
  const bool few = levels > 0 && levels <= 4;
  if (!given.gain_lr && few && !is_learned(o.scheme.estimator) && o.float_start == 0) o.gain_lr = kBestGain;
  // Two and three bits want the lower rate. Short runs diverge at the higher one.
  const bool lower = levels > 2 && levels <= 8;
  if (choose_rate && n < kPublishedFrom && o.steps >= kLongEnough && !lower) o.lr *= 2;
}

}  // namespace lowbit::train
