#pragma once
#include <cstdint>

#include "lowbit/train/options.h"

namespace lowbit::train {

/// What was asked for, whatever its value: a warm-up of 0 steps is none, not the recipe's.
struct Given {
  bool gain_lr = false, qk_norm = false, warmup = false, cooldown = false;
};

/// Fills what was left at 0 (batch, seq, lr, warm-up, micro-batch, how often to evaluate and save) as QuEST's recipe
/// has it (arXiv 2502.05003, section 4): 262,144 tokens per step and the published learning rates from 30m on. Below
/// that, a measured rule decides (docs/explain/recipes.md): smaller models want smaller batches and larger rates.
/// tokens   the training length asked for; 0: take options.steps.
void apply_quest_recipe(Options& options, std::int64_t tokens, const Given& given = {});

/// The recipe that options.recipe names. `best` is quest's with what paid in this project's own study
/// (docs/explain/recipes.md): another learning rate below 30m, smaller batches below 6m, QK-norm, and a learned gain
/// per matrix at 2 bits and fewer. throws Error(usage): an unknown name.
void apply_recipe(Options& options, std::int64_t tokens, const Given& given);

/// Peak learning rate of the rule for so many parameters in the blocks.
double quest_learning_rate(std::int64_t block_parameters);

}  // namespace lowbit::train
