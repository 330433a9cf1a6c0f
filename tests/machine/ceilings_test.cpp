#include "lowbit/machine/ceilings.h"

#include <gtest/gtest.h>
#include <time.h>

#include "lowbit/machine/peak_loops.h"

namespace lowbit {
namespace {

TEST(Ceilings, ArePositiveAndOrdered) {
  ThreadPool pool(available_threads());
  const Ceilings c = measure_ceilings(pool, 3);
  for (std::size_t i = 0; i < kCeilings; ++i) {
    SCOPED_TRACE(ceiling_name(static_cast<Ceiling>(i)));
    for (const Figure& f : {c.one[i], c.all[i]}) {
      EXPECT_GT(f.lowest, 0);
      EXPECT_LE(f.lowest, f.median);
      EXPECT_LE(f.median, f.highest);
    }
    // The best of each: the median of few rounds is at the mercy of what else runs here.
    EXPECT_GE(c.all[i].highest, 0.8 * c.one[i].lowest);
  }
  EXPECT_GE(c.one_of(Ceiling::l1).highest, c.one_of(Ceiling::memory).median);
  EXPECT_EQ(c.threads, pool.threads());
  EXPECT_EQ(c.processor, cpu_features().name);
}

TEST(Ceilings, TheClockIsThatOfAProcessor) {
  SerialExecutor alone;
  CeilingMeter meter(alone);
  const double hertz = meter.rate(Ceiling::clock, CeilingMeter::Timing::processor);
  EXPECT_GT(hertz, 0.4e9);
  EXPECT_LT(hertz, 8e9);
}

TEST(Ceilings, LowBitsHaveHigherCeilingsWhereThereAreInstructionsForThem) {
  if (active_isa() != Isa::avx512) GTEST_SKIP() << "no AVX-512 here";
  SerialExecutor alone;
  CeilingMeter meter(alone);
  const auto best = [&](Ceiling c) {
    double rate = 0;
    for (int i = 0; i < 5; ++i) rate = std::max(rate, meter.rate(c, CeilingMeter::Timing::processor));
    return rate;
  };
  EXPECT_GT(best(Ceiling::int8), 1.5 * best(Ceiling::f32));
  if (cpu_features().avx512_vpopcntdq) {
    EXPECT_GT(best(Ceiling::binary), 1.5 * best(Ceiling::int8));
  }
}

TEST(Ceilings, ALoopThatCountsFourAdditionsAsOneWouldBeSeen) {
  // The chain is as long as it says: its additions cannot take less than a cycle of 8 GHz each.
  timespec begin{}, end{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
  const long additions = clock_loop(1 << 18);
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
  EXPECT_EQ(additions, 32L << 18);
  const double seconds =
      static_cast<double>(end.tv_sec - begin.tv_sec) + 1e-9 * static_cast<double>(end.tv_nsec - begin.tv_nsec);
  EXPECT_GT(seconds, static_cast<double>(additions) / 8e9);
}

TEST(Figures, MedianAndSpreadOfOddEvenAndNoValues) {
  const Figure odd = figure_of({3, 1, 2});
  EXPECT_EQ(odd.median, 2);
  EXPECT_EQ(odd.lowest, 1);
  EXPECT_EQ(odd.highest, 3);
  EXPECT_EQ(odd.spread(), 1);
  EXPECT_EQ(figure_of({4, 1, 2, 3}).median, 2.5);
  EXPECT_EQ(figure_of({}).median, 0);
}

TEST(Load, OwnWorkIsNotTakenForThatOfOthers) {
  const LoadWatch watch;
  timespec begin{}, now{};
  clock_gettime(CLOCK_MONOTONIC, &begin);
  do {
    clock_loop(10000);
    clock_gettime(CLOCK_MONOTONIC, &now);
  } while (now.tv_sec - begin.tv_sec < 2);
  const Load load = watch.so_far();
  EXPECT_GE(load.others, 0);
  EXPECT_LE(load.others + load.steal, 1.01);
  EXPECT_GE(load.average, 0);
}

}  // namespace
}  // namespace lowbit
