#include "lowbit/laws/allocation.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "lowbit/base/error.h"
#include "lowbit/base/rng.h"

namespace lowbit::laws {
namespace {

/// The least cost within the budget by trying all; infinity when nothing fits.
double by_enumeration(const std::vector<std::vector<StorageChoice>>& layers, std::int64_t budget) {
  std::vector<std::size_t> choice(layers.size());
  double best = std::numeric_limits<double>::infinity();
  for (;;) {
    std::int64_t bytes = 0;
    double cost = 0;
    for (std::size_t i = 0; i < layers.size(); ++i) {
      bytes += layers[i][choice[i]].bytes;
      cost += layers[i][choice[i]].cost;
    }
    if (bytes <= budget) best = std::min(best, cost);
    std::size_t i = 0;
    while (i < layers.size() && ++choice[i] == layers[i].size()) choice[i++] = 0;
    if (i == layers.size()) return best;
  }
}

void expect_sums(const std::vector<std::vector<StorageChoice>>& layers, const Allocation& a) {
  std::int64_t bytes = 0;
  double cost = 0;
  ASSERT_EQ(a.choice.size(), layers.size());
  for (std::size_t i = 0; i < layers.size(); ++i) {
    bytes += layers[i].at(a.choice[i]).bytes;
    cost += layers[i][a.choice[i]].cost;
  }
  EXPECT_EQ(bytes, a.bytes);
  EXPECT_DOUBLE_EQ(cost, a.cost);
}

TEST(Allocation, IsThatOfTryingAllOnRandomInstances) {
  const Rng rng(3);
  std::uint64_t draw = 0;
  const auto below = [&](std::uint64_t bound) { return rng.below(draw++, bound); };
  for (int instance = 0; instance < 400; ++instance) {
    std::vector<std::vector<StorageChoice>> layers(1 + below(6));
    std::int64_t least = 0, most = 0;
    for (auto& choices : layers) {
      choices.resize(1 + below(4));
      std::int64_t fewest = 1000, largest = 0;
      for (StorageChoice& c : choices) {
        // Often the same bytes or the same costs, in no order; some costs negative.
        c.bytes = static_cast<std::int64_t>(below(12));
        c.cost = below(3) == 0 ? static_cast<double>(below(5)) - 1 : rng.uniform(draw++);
        fewest = std::min(fewest, c.bytes);
        largest = std::max(largest, c.bytes);
      }
      least += fewest;
      most += largest;
    }
    for (const std::int64_t budget : {least, least + 1, (least + most) / 2, most, most + 100}) {
      const Allocation a = allocate(layers, budget);
      expect_sums(layers, a);
      EXPECT_LE(a.bytes, budget);
      EXPECT_NEAR(a.cost, by_enumeration(layers, budget), 1e-12) << instance << " " << budget;
    }
    EXPECT_THROW(allocate(layers, least - 1), Error);
  }
}

TEST(Allocation, HitsTheOptimaOfHiggs) {
  // Seven layers of a block with published sensitivities, widths of 2, 3, 4 and 8 bits; sizes in units of one.
  const std::vector<std::int64_t> sizes{4, 1, 1, 4, 14, 14, 14};
  const std::vector<double> alphas{.11, .07, .97, .19, .24, .31, 2.50}, t2{.117482, .034548, .009501, .000088};
  const std::vector<std::int64_t> bits{2, 3, 4, 8};
  std::vector<std::vector<StorageChoice>> layers;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    layers.emplace_back();
    for (std::size_t c = 0; c < bits.size(); ++c) layers.back().push_back({sizes[i] * bits[c], alphas[i] * t2[c]});
  }
  struct Published {
    double average, cost;
    std::vector<std::int64_t> widths;
    std::int64_t used;
  };
  for (const Published& p : {Published{3.0, .090454, {2, 2, 8, 3, 2, 3, 4}, 156},
                             {3.25, .068012, {4, 3, 8, 4, 2, 3, 4}, 169},
                             {3.5, .049110, {3, 4, 8, 4, 3, 3, 4}, 180},
                             {4.0, .035334, {3, 4, 8, 4, 4, 4, 4}, 208}}) {
    const Allocation a = allocate(layers, static_cast<std::int64_t>(p.average * 52));
    EXPECT_NEAR(a.cost, p.cost, 1e-6) << p.average;
    EXPECT_EQ(a.bytes, p.used);
    for (std::size_t i = 0; i < sizes.size(); ++i) EXPECT_EQ(bits[a.choice[i]], p.widths[i]) << p.average << " " << i;
  }
}

TEST(Allocation, OfAModelsSizeIsDoneAtOnce) {
  const Rng rng(8);
  std::vector<std::vector<StorageChoice>> layers;
  std::int64_t uniform = 0;
  for (std::uint64_t i = 0; i < 224; ++i) {
    const std::int64_t weights = std::int64_t{1} << (22 + i % 3);
    const double alpha = rng.uniform(i);
    layers.emplace_back();
    for (std::int64_t bits = 1; bits <= 8; ++bits)
      layers.back().push_back({weights * bits / 8 + 4096, alpha * std::pow(4.0, -static_cast<double>(bits))});
    uniform += layers.back()[2].bytes;
  }
  const Allocation a = allocate(layers, uniform);
  expect_sums(layers, a);
  EXPECT_LE(a.bytes, uniform);
}

TEST(Allocation, SensitivityIsTheSlopeThroughTheOrigin) {
  EXPECT_DOUBLE_EQ(sensitivity({{.1, .2}, {.2, .4}}).alpha, 2);
  EXPECT_DOUBLE_EQ(sensitivity({{.1, 0}, {.2, 1}}).alpha, 4);
  EXPECT_DOUBLE_EQ(sensitivity({{.1, .2, .01}, {.2, .4, .03}}).error, .007 / .05);
  EXPECT_DOUBLE_EQ((Sensitivity{-1, .25}).cautious(), .25);
  EXPECT_DOUBLE_EQ((Sensitivity{1, .25}).cautious(), 1);
  EXPECT_EQ(sensitivity({}).alpha, 0);
}

}  // namespace
}  // namespace lowbit::laws
