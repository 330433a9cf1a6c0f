#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lowbit/kernels/backward.h"
#include "lowbit/model/config.h"

namespace lowbit::train {

/// Everything that fixes a training run. What stands here decides bits, except where marked (free): those may change
/// from one sitting to the next.
struct Options {
  std::filesystem::path data;           ///< data folder; empty with `batches`
  std::filesystem::path batches;        ///< raw uint16 windows [steps, batch, seq + 1], taken in order
  std::filesystem::path eval_batches;   ///< raw uint16 windows [n, seq + 1]
  std::filesystem::path init;           ///< model folder to start from; empty: drawn
  model::Config config;                 ///< positions = seq
  Scheme scheme;
  kernels::Precision backward = kernels::Precision::bf16;
  std::string recipe = "quest";         ///< which filled what was not given (free): recipe.h
  std::string schedule = "cosine";      ///< cosine, wsd
  std::int64_t steps = 0;               ///< (free: extends a run)
  std::int64_t warmup = 0;              ///< steps
  std::int64_t cooldown = 0;            ///< steps, wsd
  double final_lr = 0.1;                ///< of the peak, at the end of the cosine
  std::int64_t batch = 0;               ///< sequences a step
  std::int64_t micro_batch = 0;         ///< sequences computed at once
  std::int64_t seq = 0;                 ///< tokens of a sequence
  double lr = 0, beta1 = 0.9, beta2 = 0.95, eps = 1e-8, weight_decay = 0.1, clip = 1.0;
  double gain_lr = 0;                   ///< of a learned gain per matrix, times lr; 0: no gains
  double cage = 0;                      ///< strength of the pull to the grid at the last step; 0: none
  double cage_start = 0.8;              ///< part of the steps after which it rises from 0
  double damp = 0;                      ///< strength of the damping of oscillations at the last step; 0: none
  double float_start = 0;               ///< part of the steps that are done in bf16, before the format is taken up
  double bits_budget = 0;  ///< mean bits of the blocks' weights, scales included, that a step allots; 0: none does
  double bits_at = 0.25;                ///< part of the steps after which it is allotted
  std::string bits_choices = "1,2,3,4,5,6,8";  ///< widths of weights that a layer may get
  std::filesystem::path distill;        ///< model folder of a teacher; empty: none
  double distill_weight = 0.5;          ///< of the teacher's distribution in the target
  std::uint64_t seed = 0;
  std::int64_t eval_every = 0;          ///< steps; 0: only at the end (free)
  std::int64_t eval_tokens = 0;         ///< of the evaluations on the way; 0: all (free). The last one takes all
  std::int64_t eval_windows = 0;        ///< the same in windows, for eval_batches (free)
  std::int64_t checkpoint_every = 0;    ///< steps; 0: only at the end (free)
  int keep = 2;                         ///< checkpoints (free)
  int threads = 1;                      ///< (free)
  double bytes_per_token = 0;           ///< for raw tokens; 0: not known (free)
  std::int64_t sample_tokens = 48;      ///< of the text drawn at evaluations; 0: none (free)
  bool resume = false;
  bool recompute = false;               ///< keep less of the forward pass, compute it again on the backward pass (free)
  bool profile = false;                 ///< print where the time of the steps went (not recorded)

  std::int64_t tokens_per_step() const { return batch * seq; }
};

/// The arithmetic of a step, counted from 0: the blocks' layers are bf16 during the float start.
Scheme scheme_at(const Options& options, std::int64_t step);

/// throws Error(usage) that names the flag: values out of range, or that contradict each other.
void check(const Options& options);

/// Flags as run.json records them and --resume reads them back: name without dashes, value as text.
std::vector<std::pair<std::string, std::string>> to_flags(const Options& options);
Options from_flags(const std::vector<std::pair<std::string, std::string>>& flags, const std::string& where);

/// f32, bf16 or int8. throws Error(usage).
kernels::Precision parse_precision(std::string_view word);

/// The names of flags that a resumed run may be given anew.
bool is_free_flag(std::string_view name);

}  // namespace lowbit::train
