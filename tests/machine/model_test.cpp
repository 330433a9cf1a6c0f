#include "lowbit/machine/model.h"

#include <gtest/gtest.h>

namespace lowbit {
namespace {

/// A machine with round numbers: 1000 int8 operations a second and so on.
Rates round_machine(int threads = 2) {
  Rates r;
  r.of = {100, 100, 200, 1000, 5000, 800, 400, 200, 50};
  r.caches = {100, 1000, 8000};
  r.threads = threads;
  return r;
}

TEST(MachineModel, BoundByTheUnitsOrByReadingWhicheverTakesLonger) {
  const Rates r = round_machine();
  const Estimate many = estimate(r, {Ceiling::int8, 10000, 0, 100, 10000});
  EXPECT_DOUBLE_EQ(many.compute_seconds, 10);
  EXPECT_DOUBLE_EQ(many.read_seconds, 2);
  EXPECT_DOUBLE_EQ(many.seconds(), 10);
  EXPECT_EQ(many.bound(), Ceiling::int8);
  const Estimate few = estimate(r, {Ceiling::int8, 100, 0, 10000, 10000});
  EXPECT_DOUBLE_EQ(few.seconds(), 200);
  EXPECT_EQ(few.bound(), Ceiling::memory);
}

TEST(MachineModel, UnpackingBoundsWhereItTakesLongerThanTheOperations) {
  const Rates r = round_machine();
  Work work{Ceiling::int8, 1000, 0, 0, 10000};
  EXPECT_DOUBLE_EQ(estimate(r, work).seconds(), 1);
  work.instructions = 0.001;
  EXPECT_DOUBLE_EQ(estimate(r, work).seconds(), 1) << "it hides behind them";
  work.instructions = 500;
  const double seconds = estimate(r, work).seconds();
  EXPECT_GT(seconds, 1);
  work.instructions = 1000;
  EXPECT_DOUBLE_EQ(estimate(r, work).seconds(), 2 * seconds);
}

TEST(MachineModel, TheLevelIsThatInWhichTheWeightsStay) {
  const Rates r = round_machine();
  EXPECT_EQ(level_of(r, 150), Ceiling::l1) << "75 bytes a thread";
  EXPECT_EQ(level_of(r, 200), Ceiling::l2) << "the whole first cache is not free for them";
  EXPECT_EQ(level_of(r, 1700), Ceiling::l2);
  EXPECT_EQ(level_of(r, 2000), Ceiling::l3);
  EXPECT_EQ(level_of(r, 6900), Ceiling::l3);
  EXPECT_EQ(level_of(r, 7500), Ceiling::memory);
  Rates none = r;
  none.caches = {100, 1000, 0};
  EXPECT_EQ(level_of(none, 5000), Ceiling::memory);
}

TEST(MachineModel, ThreadsBetweenOneAndAllInProportion) {
  Ceilings c;
  c.threads = 5;
  c.one.fill({10, 10, 10});
  c.all.fill({30, 30, 30});
  EXPECT_DOUBLE_EQ(rates_of(c, 1).rate(Ceiling::int8), 10);
  EXPECT_DOUBLE_EQ(rates_of(c, 3).rate(Ceiling::int8), 20);
  EXPECT_DOUBLE_EQ(rates_of(c, 5).rate(Ceiling::int8), 30);
}

TEST(MachineModel, TypicalRatesAreOrderedOnEveryInstructionSet) {
  for (const Isa isa : {Isa::scalar, Isa::avx2, Isa::avx512}) {
    const Rates r = typical_rates(isa, 2);
    EXPECT_GE(r.rate(Ceiling::bf16), r.rate(Ceiling::f32));
    EXPECT_GE(r.rate(Ceiling::int8), r.rate(Ceiling::bf16));
    EXPECT_GE(r.rate(Ceiling::binary), r.rate(Ceiling::int8));
    EXPECT_GE(r.rate(Ceiling::l1), r.rate(Ceiling::l2));
    EXPECT_GE(r.rate(Ceiling::l3), r.rate(Ceiling::memory));
  }
}

}  // namespace
}  // namespace lowbit
