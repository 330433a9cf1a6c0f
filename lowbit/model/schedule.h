#pragma once
#include <cstdint>

// Learning rates as functions of the step alone, so that a resumed run needs no state. Steps count from 0; a step past
// the last has the rate of the last.
namespace lowbit::model {

/// One cycle of cosines: from peak / 100 at step 0 up to peak at step warmup - 1, down to peak * final at step total
/// - 1. warmup of 0 or 1: the first step has the peak already. warmup is at most total. source  QuEST (arXiv
/// 2502.05003), the published runs: torch's OneCycleLR with pct_start = warmup / total,
///         div_factor 100 and final_div_factor 0.1 (Smith and Topin 2017, arXiv 1708.07120, with cosines).
double one_cycle_cosine(std::int64_t step, std::int64_t total, std::int64_t warmup, double peak, double final = 0.1);

/// Warm-up, stable, decay: linear from peak / warmup at step 0 to peak at step warmup - 1, then peak, then over the
/// last `cooldown` steps peak * (1 - sqrt(i / cooldown)) for i = 0 .. cooldown - 1: nearly, never quite, zero. warmup +
/// cooldown is at most total. source  Hu et al. 2024, MiniCPM, arXiv 2404.06395, section 4; the square root: Haegele et
/// al. 2024, arXiv 2405.18392,
///         section 3.
double wsd(std::int64_t step, std::int64_t total, std::int64_t warmup, std::int64_t cooldown, double peak);

}  // namespace lowbit::model
