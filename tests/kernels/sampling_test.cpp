#include "lowbit/kernels/sampling.h"

#include <limits>

#include "kernels/float_support.h"

namespace lowbit::kernels {
namespace {

using namespace lowbit::test;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
const std::vector<std::size_t> kSizes{1, 2, 15, 16, 17, 63, 64, 65, 1000, 1024, 1025, 5000};

/// Logits with ties, zeros of either sign and minus infinity.
std::vector<float> logits(std::size_t n, std::uint64_t seed) {
  std::vector<float> x = normal_floats(n, seed, 4);
  for (std::size_t i = 0; i < n; i += 3) x[i] = static_cast<float>(static_cast<int>(x[i]));
  for (std::size_t i = 5; i < n; i += 50) x[i] = -kInfinity;
  return x;
}

TEST(SamplingPasses, FindTheLargestAndWhereItStands) {
  for (const Form& form : every_form()) {
    const UseForm use(form);
    for (const std::size_t n : kSizes)
      for (std::size_t at = 0; at < n; at += n / 7 + 1) {
        std::vector<float> x = normal_floats(n, 3);
        for (float& v : x) v = v > 0 ? -v : v;  // so that a lane beyond the end, read as 0, would win
        x[at] = -0.0f;
        EXPECT_EQ(largest(n, x.data()), 0.0f) << form.name() << " n " << n;
        EXPECT_EQ(first_equal(n, x.data(), 0.0f), at) << form.name() << " n " << n;
        EXPECT_EQ(first_equal(n, x.data(), 7.0f), n) << form.name() << " n " << n;
        x[at] = std::numeric_limits<float>::quiet_NaN();
        EXPECT_TRUE(std::isnan(largest(n, x.data()))) << form.name() << " n " << n << " at " << at;
      }
  }
}

TEST(SamplingPasses, GiveTheBitsOfThePlainForm) {
  for (const std::size_t n : kSizes) {
    const std::vector<float> x = logits(n, 5);
    const Rank rank{x[n / 2], n / 2};
    const std::size_t blocks = weight_blocks(n);
    struct Result {
      std::vector<float> weights, between, from;
      std::vector<double> sums, before;
      std::vector<std::int32_t> ids;
      std::size_t above = 0;
      bool operator==(const Result&) const = default;
    };
    const auto result = [&] {
      Result r;
      r.weights.resize(n), r.sums.resize(blocks), r.before.resize(blocks);
      exp_weights(n, x.data(), 12.0f, 0.7f, 1e-4f, r.weights.data(), r.sums.data());
      sums_before(n, x.data(), r.weights.data(), rank, r.before.data());
      r.between.resize(n + kGatherSlack), r.from.resize(n + kGatherSlack), r.ids.resize(n + kGatherSlack);
      r.between.resize(gather_between(n, x.data(), -1.0f, 2.0f, r.between.data(), r.above));
      const std::size_t count = gather_from(n, x.data(), 1.0f, r.from.data(), r.ids.data());
      r.from.resize(count), r.ids.resize(count);
      return r;
    };
    Result plain;
    {
      const UseForm use({Isa::scalar, true});
      plain = result();
    }
    double sum = 0, before = 0;
    for (std::size_t i = 0; i < n; ++i) {
      const double w = std::exp((static_cast<double>(x[i]) - 12) * static_cast<double>(0.7f));
      const double kept = w >= static_cast<double>(1e-4f) ? w : 0;
      EXPECT_NEAR(static_cast<double>(plain.weights[i]), kept, 2e-6 * w);
      sum += kept;
      if (x[i] > rank.value || (x[i] == rank.value && i < rank.index)) before += kept;
    }
    double found = 0, found_before = 0;
    for (std::size_t b = 0; b < blocks; ++b) found += plain.sums[b], found_before += plain.before[b];
    EXPECT_NEAR(found, sum, 2e-6 * sum);
    EXPECT_NEAR(found_before, before, 2e-6 * sum);
    for (const Form& form : every_form()) {
      const UseForm use(form);
      EXPECT_TRUE(result() == plain) << form.name() << " n " << n;
    }
  }
}

}  // namespace
}  // namespace lowbit::kernels
