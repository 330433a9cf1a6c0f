// The sampler against its definition, written plainly: softmax in double over all tokens, sorted, filtered one filter
// after another.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "lowbit/base/error.h"
#include "lowbit/base/rng.h"
#include "lowbit/machine/isa.h"
#include "lowbit/run/sampler.h"

namespace lowbit::run {
namespace {

/// Logits like a model's, with a few equal ones.
std::vector<float> some_logits(std::size_t n, double spread, std::uint64_t seed) {
  const Rng rng(seed);
  std::vector<float> logits(n);
  for (std::size_t i = 0; i < n; ++i) logits[i] = static_cast<float>(rng.normal(i) * spread);
  for (std::size_t i = 3; i < n; i += 5) logits[i] = logits[i - 3];
  return logits;
}

std::vector<double> probabilities(const SamplerOptions& o, std::span<const float> logits,
                                  std::span<const std::int32_t> seen) {
  const std::size_t n = logits.size();
  std::vector<double> z(logits.begin(), logits.end()), p(n);
  std::vector<char> done(n, 0);
  for (const std::int32_t token : seen) {
    const auto i = static_cast<std::size_t>(token);
    if (!std::exchange(done[i], 1)) z[i] = z[i] > 0 ? z[i] / o.repetition_penalty : z[i] * o.repetition_penalty;
  }
  std::vector<std::size_t> order(n);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return z[a] > z[b]; });
  std::size_t kept = o.top_k > 0 ? std::min(n, static_cast<std::size_t>(o.top_k)) : n;
  double total = 0;
  for (std::size_t i = 0; i < kept; ++i) {
    p[order[i]] = std::exp((z[order[i]] - z[order[0]]) / o.temperature);
    if (p[order[i]] < o.min_p) p[order[i]] = 0;
    total += p[order[i]];
  }
  double before = 0;
  for (std::size_t i = 0; i < kept; ++i) {
    double& here = p[order[i]];
    const bool out = o.top_p < 1 && before >= o.top_p * total;
    before += here;
    if (out) here = 0;
  }
  total = std::accumulate(p.begin(), p.end(), 0.0);
  for (double& v : p) v /= total;
  return p;
}

std::vector<SamplerOptions> every_kind() {
  std::vector<SamplerOptions> kinds;
  const auto add = [&](double temperature, std::int64_t k, double top_p, double min_p, double penalty) {
    kinds.push_back({temperature, k, top_p, min_p, penalty, 17});
  };
  for (const double temperature : {0.3, 1.0, 2.5}) {
    add(temperature, 0, 1, 0, 1);
    for (const std::int64_t k : {1, 40, 700, 1500}) add(temperature, k, 1, 0, 1);
    for (const double top_p : {0.02, 0.5, 0.95}) add(temperature, 0, top_p, 0, 1);
    for (const double min_p : {0.5, 0.05, 1e-3}) add(temperature, 0, 1, min_p, 1);
    add(temperature, 0, 1, 0, 1.3);
    add(temperature, 0, 1, 0, 0.8);
    add(temperature, 40, 0.9, 0.01, 1.1);
    add(temperature, 1200, 0.9, 0.001, 1.1);
    add(temperature, 0, 0.7, 0.02, 1);
  }
  return kinds;
}

std::string name_of(const SamplerOptions& o, std::size_t n) {
  return fmt::format("n {}, temperature {}, top-k {}, top-p {}, min-p {}, penalty {}", n, o.temperature, o.top_k,
                     o.top_p, o.min_p, o.repetition_penalty);
}

const std::vector<std::int32_t> kSeen{0, 7, 7, 33, 60};

TEST(SamplerDistribution, IsThatOfTheDefinition) {
  for (const std::size_t n : {64u, 2500u})
    for (const SamplerOptions& options : every_kind()) {
      const std::vector<float> logits = some_logits(n, 2, n);
      const std::vector<double> p = probabilities(options, logits, kSeen);
      Sampler sampler(options, n);
      for (const std::int32_t token : kSeen) sampler.see(token);
      constexpr int kDraws = 20000;
      std::vector<int> counts(n, 0);
      for (int i = 0; i < kDraws; ++i)
        ++counts[static_cast<std::size_t>(sampler.choose(logits, static_cast<std::uint64_t>(i)))];
      // Chi-square; what is rare counts together.
      double statistic = 0, rare = 0, rare_found = 0;
      int cells = 0;
      const auto cell = [&](double expected, double found) {
        statistic += (found - expected) * (found - expected) / expected;
        ++cells;
      };
      for (std::size_t i = 0; i < n; ++i) {
        const double expected = p[i] * kDraws;
        ASSERT_TRUE(p[i] > 0 || counts[i] == 0) << name_of(options, n) << ": token " << i << " is filtered out";
        if (expected >= 8) {
          cell(expected, counts[i]);
        } else {
          rare += expected;
          rare_found += counts[i];
        }
      }
      if (rare >= 8) cell(rare, rare_found);
      const double freedom = std::max(1, cells - 1);
      EXPECT_LT(statistic, freedom + 4.5 * std::sqrt(2 * freedom) + 5)
          << name_of(options, n) << ", " << cells << " cells";
    }
}

TEST(SamplerDistribution, TheKthOfManyIsFoundWhereverItLies) {
  for (const std::size_t n : {513u, 4000u, 32000u})
    for (const std::size_t k : {std::size_t{1}, std::size_t{2}, std::size_t{50}, n / 8, n / 2, n - 2, n - 1}) {
      SamplerOptions options;
      options.temperature = 100;  // flat, so that anything kept is drawn
      options.top_k = static_cast<std::int64_t>(k);
      for (const int kind : {0, 1, 2, 3}) {
        std::vector<float> logits = some_logits(n, 2, 5);
        for (std::size_t i = 0; i < n; ++i) {
          if (kind == 1) logits[i] = static_cast<float>(i % 3);            // three values
          if (kind == 2) logits[i] = static_cast<float>(i) / 1000;         // in order
          if (kind == 3) logits[i] = i % 250 == 3 ? 1.0f : -1.0f;          // where a sample in equal steps misleads
        }
        const std::vector<double> p = probabilities(options, logits, {});
        Sampler sampler(options, n);
        for (std::uint64_t i = 0; i < 60; ++i) {
          const auto token = static_cast<std::size_t>(sampler.choose(logits, i));
          ASSERT_GT(p[token], 0) << "n " << n << ", k " << k << ", kind " << kind << ", token " << token;
        }
        if (k == 1) continue;
        // All that the definition keeps can be drawn: the least of them stands in the way of none.
        if (k <= 50) {
          std::vector<char> drawn(n, 0);
          for (std::uint64_t i = 0; i < 1000; ++i) drawn[static_cast<std::size_t>(sampler.choose(logits, i))] = 1;
          for (std::size_t i = 0; i < n; ++i)
            ASSERT_EQ(drawn[i] != 0, p[i] > 0) << "n " << n << ", k " << k << ", kind " << kind;
        }
      }
    }
}

TEST(SamplerDistribution, TheChoiceIsTheSameUnderEveryInstructionSet) {
  const Isa before = active_isa();
  for (const SamplerOptions& options : every_kind()) {
    const std::vector<float> logits = some_logits(5000, 2, 9);
    std::vector<std::vector<std::int32_t>> chosen;
    for (const Isa isa : {Isa::scalar, Isa::avx2, Isa::avx512}) {
      if (!isa_supported(isa)) continue;
      force_isa(isa);
      Sampler sampler(options, logits.size());
      for (const std::int32_t token : kSeen) sampler.see(token);
      chosen.emplace_back();
      for (std::uint64_t i = 0; i < 100; ++i) chosen.back().push_back(sampler.choose(logits, i));
      EXPECT_EQ(chosen.back(), chosen.front()) << name_of(options, logits.size()) << ", " << isa_name(isa);
    }
  }
  force_isa(before);
}

TEST(SamplerDistribution, TheChoiceDoesNotDependOnTheThreads) {
  ThreadPool two(2), three(3);
  for (const SamplerOptions& options : every_kind()) {
    const std::vector<float> logits = some_logits(32000, 2, 9);
    Sampler alone(options, logits.size()), shared(options, logits.size(), &two),
        by_three(options, logits.size(), &three);
    for (Sampler* sampler : {&alone, &shared, &by_three})
      for (const std::int32_t token : kSeen) sampler->see(token);
    for (std::uint64_t i = 0; i < 30; ++i) {
      const std::int32_t token = alone.choose(logits, i);
      ASSERT_EQ(shared.choose(logits, i), token) << name_of(options, logits.size());
      ASSERT_EQ(by_three.choose(logits, i), token) << name_of(options, logits.size());
    }
  }
}

TEST(SamplerDistribution, LogitsThatAreNoNumbersEndTheTextWithALine) {
  for (const double temperature : {0.0, 0.8})
    for (const float bad : {NAN, INFINITY}) {
      std::vector<float> logits = some_logits(100, 2, 1);
      logits[70] = bad;
      SamplerOptions options;
      options.temperature = temperature;
      Sampler sampler(options, logits.size());
      EXPECT_THROW(sampler.choose(logits, 0), Error);
      logits[70] = -INFINITY;  // a token that cannot be drawn is none of these
      EXPECT_NO_THROW(sampler.choose(logits, 0));
    }
}

}  // namespace
}  // namespace lowbit::run
