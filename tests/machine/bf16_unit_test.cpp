#include "lowbit/machine/bf16_unit.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "lowbit/base/error.h"
#include "lowbit/base/executor.h"
#include "lowbit/machine/isa.h"
#include "lowbit/machine/peak.h"

namespace lowbit {
namespace {

TEST(Bf16Unit, IsUsedWhereItDoesMoreOperationsThanFma) {
  EXPECT_TRUE(bf16_unit_pays(260e9, 130e9));   // Zen 4: twice the rate of fma
  EXPECT_FALSE(bf16_unit_pays(147e9, 303e9));  // a Xeon of family 6, model 207
}

TEST(Bf16Unit, AChoiceHoldsWhereTheProcessorHasOneAndNowhereElse) {
  const Isa before = active_isa();
  for (const Isa isa : {Isa::scalar, Isa::avx2, Isa::avx512}) {
    if (!isa_supported(isa)) continue;
    force_isa(isa);
    choose_bf16_unit(Bf16Unit::on);
    EXPECT_EQ(bf16_unit_in_use(), isa == Isa::avx512 && cpu_features().avx512_bf16) << isa_name(isa);
    choose_bf16_unit(Bf16Unit::off);
    EXPECT_FALSE(bf16_unit_in_use()) << isa_name(isa);
  }
  force_isa(before);
  choose_bf16_unit(Bf16Unit::measured);
}

TEST(Bf16Unit, TheMeasuredChoiceIsTheWayWithTheHigherPeak) {
  if (active_isa() != Isa::avx512 || !cpu_features().avx512_bf16) GTEST_SKIP() << "this processor has no such unit";
  ThreadPool pool(1);
  choose_bf16_unit(Bf16Unit::on);
  const Peaks with = measure_peaks(pool);
  choose_bf16_unit(Bf16Unit::measured);
  // Where the two are within a quarter of each other either choice is right.
  if (with.bf16 > 1.25 * with.f32) EXPECT_TRUE(bf16_unit_in_use()) << with.bf16 << " " << with.f32;
  if (with.f32 > 1.25 * with.bf16) EXPECT_FALSE(bf16_unit_in_use()) << with.bf16 << " " << with.f32;
  EXPECT_GE(measure_peaks(pool).bf16, 0.75 * std::max(with.bf16, with.f32));
}

TEST(Bf16Unit, WordsOfTheEnvironment) {
  EXPECT_EQ(parse_bf16_unit(nullptr), Bf16Unit::measured);
  EXPECT_EQ(parse_bf16_unit("on"), Bf16Unit::on);
  EXPECT_EQ(parse_bf16_unit("off"), Bf16Unit::off);
  EXPECT_THROW(parse_bf16_unit("yes"), Error);
}

}  // namespace
}  // namespace lowbit
