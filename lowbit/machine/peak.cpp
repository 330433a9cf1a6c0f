#include "lowbit/machine/peak.h"

#include <algorithm>
#include <chrono>
#include <numeric>
#include <vector>

#include "lowbit/machine/isa.h"
#include "lowbit/machine/peak_loops.h"

namespace lowbit {
namespace {

using Clock = std::chrono::steady_clock;

/// Operations per second of one loop, all threads at work: each thread times itself, since waking a thread on a busy
/// machine may take longer than the loop.
double rate(Executor& executor, PeakLoop loop, double seconds) {
  constexpr long kIterations = 20000;
  const auto threads = static_cast<std::size_t>(executor.threads());
  std::vector<double> best(threads, 0.0);
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  do {
    executor.parallel_for(threads, [&](std::size_t i) {
      for (int repeat = 0; repeat < 8; ++repeat) {
        const auto start = Clock::now();
        const auto operations = static_cast<double>(loop(kIterations));
        best[i] = std::max(best[i], operations / std::chrono::duration<double>(Clock::now() - start).count());
      }
    });
  } while (Clock::now() < end);
  return std::accumulate(best.begin(), best.end(), 0.0);
}

}  // namespace

Peaks measure_peaks(Executor& executor, double seconds) {
  const PeakLoops loops = peak_loops();
  return {rate(executor, loops.f32, seconds / 3), rate(executor, loops.bf16, seconds / 3),
          rate(executor, loops.int8, seconds / 3)};
}

}  // namespace lowbit
