#pragma once
#include "lowbit/bench/measure.h"
#include "lowbit/train/options.h"

namespace lowbit::train {

/// A step of training (forward, backward, optimizer, coding of the new weights) on random tokens from drawn weights,
/// beside the peak of bfloat16 products.
struct StepSpeed {
  Figure tokens_per_second;
  bench::Beside beside;  ///< share: seconds that the step's products take at their units' peaks over what it took
};

/// options   config, scheme, backward, batch, micro_batch, seq, seed, recompute and the optimizer's; no files.
/// throws Error(input): predicted not to fit; Interrupted.
StepSpeed measure_step(Executor& executor, CeilingMeter& meter, const Options& options, int rounds);

}  // namespace lowbit::train
