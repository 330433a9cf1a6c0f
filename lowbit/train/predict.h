#pragma once
#include <cstdint>

#include "lowbit/machine/peak.h"
#include "lowbit/train/options.h"

namespace lowbit::train {

/// What a run will take, said before it starts.
struct Prediction {
  std::int64_t memory_bytes = 0;
  double seconds_per_step = 0;
  std::int64_t disk_bytes = 0;  ///< of the checkpoints it keeps
};

/// Operations (a multiply and an add are two) of one token's products: forward at the format's rate, backward at
/// bf16's.
struct TokenWork {
  double forward = 0, backward = 0, attention = 0;
};
TokenWork token_work(const Options& options);

/// Seconds that the matrix products of one step alone take at the machine's peak: the share of the machine is this over
/// the step's time.
double peak_seconds_per_step(const Options& options, const Peaks& peaks);

Prediction predict(const Options& options, const Peaks& peaks);

}  // namespace lowbit::train
