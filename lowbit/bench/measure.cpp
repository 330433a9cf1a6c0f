#include "lowbit/bench/measure.h"

#include <time.h>

#include <algorithm>

#include "lowbit/base/interrupt.h"

namespace lowbit::bench {
namespace {

double now(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

// A processor-time clock may tick in tens of microseconds, and a thread may take as long to wake.
constexpr double kShortest = 0.002;

}  // namespace

Beside measure_beside(Executor& executor, CeilingMeter& meter, Ceiling ceiling, int rounds, double amount,
                      const std::function<void()>& work) {
  const bool alone = executor.threads() == 1;
  const clockid_t clock = alone ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC;
  const auto timing = alone ? CeilingMeter::Timing::processor : CeilingMeter::Timing::clock;
  const auto run = [&](int times) {
    const double start = now(clock);
    for (int i = 0; i < times; ++i) {
      check_interrupt("stopped by Ctrl-C; what was measured so far is lost");
      work();
    }
    return std::max(1e-9, now(clock) - start);
  };
  run(1);  // memory, caches and clock come up
  int times = 1;
  for (double took; (took = run(times)) < kShortest && times < 1 << 20;)
    times = std::max(times + 1, static_cast<int>(times * std::min(10.0, 1.2 * kShortest / took)));
  const LoadWatch watch;
  std::vector<double> seconds, ceilings, shares;
  double before = meter.rate(ceiling, timing);
  for (int round = 0; round < rounds; ++round) {
    const double took = run(times) / times;
    const double after = meter.rate(ceiling, timing);
    seconds.push_back(took);
    ceilings.push_back((before + after) / 2);
    shares.push_back(amount / took / ceilings.back());
    before = after;
  }
  return {figure_of(std::move(seconds)), figure_of(std::move(ceilings)), figure_of(std::move(shares)), watch.so_far()};
}

Figure rate_of(const Figure& seconds, double amount) {
  if (seconds.median <= 0) return {};
  return {amount / seconds.median, amount / seconds.highest, amount / seconds.lowest};
}

}  // namespace lowbit::bench
