#include "lowbit/run/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "lowbit/base/error.h"

namespace lowbit::run {
namespace {

const std::vector<float> kLogits{0.5f, 2.0f, -1.0f, 1.0f, 2.0f};

std::map<std::int32_t, double> shares(const SamplerOptions& options, int draws) {
  Sampler sampler(options, kLogits.size());
  std::map<std::int32_t, double> counts;
  for (int i = 0; i < draws; ++i) counts[sampler.choose(kLogits, static_cast<std::uint64_t>(i))] += 1.0 / draws;
  return counts;
}

TEST(Sampler, WithoutTemperatureTakesTheLikeliestAndOfEqualsTheLowerId) {
  Sampler sampler({}, kLogits.size());
  EXPECT_EQ(sampler.choose(kLogits, 0), 1);
}

TEST(Sampler, DrawsWithTheProbabilitiesOfTheSoftmax) {
  SamplerOptions options;
  options.temperature = 0.7;
  constexpr int draws = 40000;
  double sum = 0;
  for (const float z : kLogits) sum += std::exp(z / 0.7);
  const auto found = shares(options, draws);
  for (std::size_t i = 0; i < kLogits.size(); ++i) {
    const double p = std::exp(kLogits[i] / 0.7) / sum;
    EXPECT_NEAR(found.count(static_cast<std::int32_t>(i)) ? found.at(static_cast<std::int32_t>(i)) : 0, p,
                5 * std::sqrt(p * (1 - p) / draws))
        << i;
  }
}

TEST(Sampler, FiltersLeaveOutWhatTheySay) {
  SamplerOptions options;
  options.temperature = 1;
  options.top_k = 2;
  EXPECT_EQ(shares(options, 500).size(), 2u);
  options = {};
  options.temperature = 1;
  options.min_p = 0.3;  // e^-1 of the likeliest is 0.368, e^-1.5 is 0.223
  EXPECT_EQ(shares(options, 500).size(), 3u);
  options = {};
  options.temperature = 1;
  options.top_p = 0.5;  // the two likeliest have 0.37 each
  EXPECT_EQ(shares(options, 500).size(), 2u);
}

TEST(Sampler, ARepetitionPenaltyMakesSeenTokensLessLikelyWhateverTheirSign) {
  SamplerOptions options;
  options.repetition_penalty = 3;
  Sampler sampler(options, kLogits.size());
  sampler.see(1);
  EXPECT_EQ(sampler.choose(kLogits, 0), 4);
  sampler.see(4);
  EXPECT_EQ(sampler.choose(kLogits, 0), 3);
  const std::vector<float> negative{-1.0f, -2.0f};
  Sampler other(options, 2);
  other.see(0);
  EXPECT_EQ(other.choose(negative, 0), 1);
}

TEST(Sampler, ADrawIsAFunctionOfSeedAndPosition) {
  SamplerOptions options;
  options.temperature = 1;
  options.seed = 9;
  Sampler forwards(options, kLogits.size()), backwards(options, kLogits.size());
  std::vector<std::int32_t> a(50), b(50);
  for (std::size_t i = 0; i < 50; ++i) a[i] = forwards.choose(kLogits, i);
  for (std::size_t i = 50; i-- > 0;) b[i] = backwards.choose(kLogits, i);
  EXPECT_EQ(a, b);
}

TEST(Sampler, RefusesValuesOutOfRange) {
  const auto with = [](auto member, double value) {
    SamplerOptions o;
    o.*member = value;
    return o;
  };
  EXPECT_THROW(check(with(&SamplerOptions::temperature, -1)), Error);
  EXPECT_THROW(check(with(&SamplerOptions::top_p, 0)), Error);
  EXPECT_THROW(check(with(&SamplerOptions::top_p, 1.5)), Error);
  EXPECT_THROW(check(with(&SamplerOptions::min_p, 1)), Error);
  EXPECT_THROW(check(with(&SamplerOptions::repetition_penalty, 0)), Error);
  EXPECT_THROW(check(with(&SamplerOptions::temperature, NAN)), Error);
}

}  // namespace
}  // namespace lowbit::run
