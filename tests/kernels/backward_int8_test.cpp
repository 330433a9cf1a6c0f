#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <set>

#include "backward_support.h"
#include "lowbit/kernels/backward_int8.h"
#include "lowbit/kernels/backward_int8_form.h"

namespace lowbit::kernels {
namespace {

using namespace test;

/// A gradient as the backward pass meets it: stored [m, k], or [k, m] when transposed, and its scaled values.
struct Gradient {
  std::vector<float> stored, scale;
  BackwardOperand view;
  std::size_t rows, size;
  Gradient(std::uint64_t seed, std::size_t m, std::size_t k, bool transposed, bool scaled) : rows(m), size(k) {
    view.transposed = transposed;
    view.stride = (transposed ? m : k) + seed % 4;
    stored = normals(seed, ((transposed ? k : m) - 1) * view.stride + (transposed ? m : k));
    if (scaled) scale = normals(seed + 1, k);
    link();
  }
  void link() {
    view.values = stored.data();
    view.contracted_scale = scale.empty() ? nullptr : scale.data();
  }
  float& at(std::size_t i, std::size_t l) {
    return stored[view.transposed ? l * view.stride + i : i * view.stride + l];
  }
  float scaled(std::size_t i, std::size_t l) { return at(i, l) * (scale.empty() ? 1.0f : scale[l]); }
};

struct Codes {
  std::vector<std::uint8_t> stored;
  BackwardOperand view;
  Codes(std::uint64_t seed, std::size_t k, std::size_t n, const Grid& grid) {
    const Rng rng(seed);
    view.stride = n + seed % 5;
    stored.assign((k - 1) * view.stride + n, 255);
    for (std::size_t l = 0; l < k; ++l)
      for (std::size_t j = 0; j < n; ++j)
        stored[l * view.stride + j] =
            static_cast<std::uint8_t>(rng.below(l * n + j, static_cast<std::uint64_t>(grid.levels)));
    view.codes = stored.data();
    view.grid = &grid;
  }
  int value(std::size_t l, std::size_t j) const { return view.grid->value_of_code(stored[l * view.stride + j]); }
};

/// One row's block by the rule of backward_int8.h, in double where that is exact.
struct Block {
  std::vector<int> codes;
  float scale = 0;
};
Block code_block(std::uint64_t key, Gradient& a, std::size_t i, std::size_t begin, std::size_t end) {
  Block block;
  float top = 0;
  for (std::size_t l = begin; l < end; ++l) {
    if (!std::isfinite(a.scaled(i, l))) top = NAN;
    if (!std::isnan(top)) top = std::max(top, std::abs(a.scaled(i, l)));
  }
  const bool counts = top >= kSmallestGradient;
  const float inverse = counts ? 32512.0f / top : 0.0f;
  block.scale = std::isnan(top) ? NAN : counts ? top / 127.0f : 0.0f;
  const std::uint32_t of_row = rounding_of_row(key, i);
  for (std::size_t l = begin; l < end; ++l) {
    const int byte = static_cast<int>(rounding_word(of_row, l / 4) >> 8 * (l % 4) & 255);
    const float x = std::isnan(top) ? 0.0f : a.scaled(i, l) * inverse;
    block.codes.push_back(static_cast<int>(std::floor((std::nearbyint(x) + static_cast<float>(byte)) / 256.0f)));
  }
  return block;
}

std::vector<float> reference(std::uint64_t key, Gradient& a, const Codes& b, std::size_t n, std::vector<float> c,
                             bool accumulate) {
  const std::size_t length = gradient_block(a.size);
  for (std::size_t i = 0; i < a.rows; ++i)
    for (std::size_t begin = 0; begin < a.size; begin += length) {
      const std::size_t end = std::min(begin + length, a.size);
      const Block block = code_block(key, a, i, begin, end);
      for (std::size_t j = 0; j < n; ++j) {
        int sum = 0;
        for (std::size_t l = begin; l < end; ++l) sum += block.codes[l - begin] * b.value(l, j);
        float& y = c[i * n + j];
        y = begin == 0 && !accumulate ? static_cast<float>(sum) * block.scale
                                      : std::fma(static_cast<float>(sum), block.scale, y);
      }
    }
  return c;
}

/// Each instruction set once: bfloat16 instructions make no difference here.
std::vector<Machine> instruction_sets() {
  std::vector<Machine> all;
  for (const Machine& machine : machines())
    if (all.empty() || all.back().isa != machine.isa) all.push_back(machine);
  return all;
}

constexpr std::uint64_t kKey = 0x0123456789abcdefull;

void expect_equal_to_reference(Gradient& a, const Codes& b, std::size_t n, bool accumulate, std::uint64_t seed) {
  const std::vector<float> start = normals(seed, a.rows * n);
  SerialExecutor serial;
  const std::vector<float> expected = reference(kKey + seed, a, b, n, start, accumulate);
  for (const Machine& machine : instruction_sets()) {
    const OnlyMachine only(machine);
    Guarded out(a.rows, n, seed % 6);
    out.fill(accumulate ? start : std::vector<float>(start.size(), NAN));
    backward_product_int8(serial, kKey + seed, a.rows, n, a.size, a.view, b.view, out.data(), out.stride, accumulate);
    ASSERT_TRUE(out.guards_stand()) << machine.name();
    const std::vector<float> got = out.values();
    for (std::size_t i = 0; i < got.size(); ++i) {
      if (std::isnan(expected[i])) {
        ASSERT_TRUE(std::isnan(got[i])) << machine.name() << " row " << i / n;
        continue;
      }
      ASSERT_EQ(got[i], expected[i]) << machine.name() << " " << a.rows << "x" << n << "x" << a.size << " grid "
                                     << b.view.grid->name << (a.view.transposed ? " transposed" : "") << " row "
                                     << i / n << " column " << i % n;
    }
  }
}

TEST(BackwardInt8, HasTheBitsOfTheRuleForRandomSmallShapesAndEveryGrid) {
  const Rng rng(43);
  std::vector<const Grid*> grids;
  for (const Grid* grid : every_grid())
    if (grid->integer()) grids.push_back(grid);
  for (std::uint64_t i = 0; i < 300; ++i) {
    const auto draw = [&](std::uint64_t what, std::uint64_t bound) { return rng.below(i * 16 + what, bound); };
    const std::size_t m = draw(0, 70) + 1, n = draw(1, 90) + 1, k = draw(2, 90) + 1;
    Gradient a(100 * i, m, k, draw(3, 2) == 0, draw(4, 2) == 0);
    expect_equal_to_reference(a, Codes(i, k, n, *grids[draw(5, grids.size())]), n, draw(6, 2) == 0, i);
    if (HasFatalFailure()) return;
  }
}

TEST(BackwardInt8, HasTheBitsOfTheRuleOverSeveralBlocksTilesAndSlabs) {
  std::uint64_t seed = 500;
  for (const bool transposed : {false, true}) {
    for (const auto& [m, n, k] : {std::tuple<std::size_t, std::size_t, std::size_t>{130, 97, 1101},
                                  {150, 70, 513},
                                  {33, 200, 512},
                                  {1, 400, 700},
                                  {300, 1, 1030},
                                  {7, 2050, 3000}}) {
      Gradient a(++seed, m, k, transposed, true);
      expect_equal_to_reference(a, Codes(seed, k, n, *find_grid(seed % 2 ? "4" : "8")), n, seed % 3 == 0, seed);
      if (HasFatalFailure()) return;
    }
  }
}

TEST(BackwardInt8, KeepsZeroRowsHugeEntriesTinyValuesAndTheLargestSums) {
  for (const bool transposed : {false, true}) {
    Gradient a(3, 40, 600, transposed, false);
    for (std::size_t l = 0; l < a.size; ++l) {
      a.at(3, l) = 0;                            // nothing
      a.at(4, l) *= l == 17 ? 1e30f : 1e-3f;     // one entry decides the scale
      a.at(5, l) *= 1e-33f;                      // below what counts
      a.at(6, l) = l % 2 ? 3.4e38f : -3.4e38f;   // the ends of float32
      a.at(7, l) = -2.5f;                        // every code -127
      a.at(8, l) *= 1e-29f;                      // small, yet it counts
    }
    Codes b(5, a.size, 50, *find_grid("8"));
    for (std::size_t l = 0; l < a.size; ++l) b.stored[l * b.view.stride] = 255;
    expect_equal_to_reference(a, b, 50, false, 8);
    if (HasFatalFailure()) return;
    SerialExecutor serial;
    std::vector<float> c(40 * 50);
    backward_product_int8(serial, 1, 40, 50, a.size, a.view, b.view, c.data(), 50, false);
    for (std::size_t j = 0; j < 50; ++j) {
      EXPECT_EQ(c[3 * 50 + j], 0.0f);
      EXPECT_EQ(c[5 * 50 + j], 0.0f);
      EXPECT_NE(c[8 * 50 + j], 0.0f);
    }
    EXPECT_NEAR(c[7 * 50], -2.5f * 255 * 600, 1);
  }
}

TEST(BackwardInt8, MakesARowNaNThatHoldsANaNOrAnInfinityAndNoOther) {
  SerialExecutor serial;
  for (const bool transposed : {false, true})
    for (const float bad : {NAN, -NAN, INFINITY, -INFINITY}) {
      Gradient a(9, 20, 700, transposed, true);
      a.at(11, 650) = bad;
      const Codes b(2, 700, 35, *find_grid("4"));
      for (const Machine& machine : instruction_sets()) {
        const OnlyMachine only(machine);
        std::vector<float> c(20 * 35, 1.0f);
        backward_product_int8(serial, 1, 20, 35, 700, a.view, b.view, c.data(), 35, true);
        for (std::size_t i = 0; i < c.size(); ++i) EXPECT_EQ(std::isnan(c[i]), i / 35 == 11) << machine.name();
      }
    }
}

TEST(BackwardInt8, KeepsEveryBitForAnyNumberOfThreadsAndChangesWithTheKey) {
  ThreadPool two(2), three(3);
  SerialExecutor one;
  const std::size_t m = 300, n = 200, k = 1500;
  for (const bool transposed : {false, true}) {
    Gradient a(1, m, k, transposed, true);
    const Codes b(2, k, n, *find_grid("2"));
    const auto product = [&](Executor& executor, std::uint64_t key) {
      std::vector<float> c = normals(3, m * n);
      backward_product_int8(executor, key, m, n, k, a.view, b.view, c.data(), n, true);
      return c;
    };
    const auto c = product(one, 7);
    EXPECT_EQ(std::memcmp(c.data(), product(two, 7).data(), c.size() * sizeof(float)), 0);
    EXPECT_EQ(std::memcmp(c.data(), product(three, 7).data(), c.size() * sizeof(float)), 0);
    const auto other = product(one, 8);
    std::size_t same = 0;
    for (std::size_t i = 0; i < c.size(); ++i) same += c[i] == other[i];
    EXPECT_LT(same, c.size() / 20);
  }
}

/// Codes of one row of values over many keys, as float: column l of C is g * scale when B is the identity.
std::vector<float> rounded_row(std::uint64_t key, Gradient& a) {
  SerialExecutor serial;
  const Grid& grid = *find_grid("1.58");
  std::vector<std::uint8_t> identity(a.size * a.size, 1);
  for (std::size_t l = 0; l < a.size; ++l) identity[l * a.size + l] = 2;
  const BackwardOperand b{.codes = identity.data(), .grid = &grid, .stride = a.size};
  std::vector<float> c(a.rows * a.size);
  backward_product_int8(serial, key, a.rows, a.size, a.size, a.view, b, c.data(), a.size, false);
  return c;
}

TEST(BackwardInt8, RoundsWithoutBiasAndNeighboursIndependently) {
  // The mean over N keys of a code is its value within scale / 512 (bytes are 256 steps) and 5 standard errors, each at
  // most scale / (2 sqrt N). Errors of neighbours along rows and along columns do not go together: the mean of N
  // products of two independent errors in units of scale, each of variance up to 1/4, is below 5 / (4 sqrt N).
  constexpr std::size_t kKeys = 4000, kRows = 6, kSize = 24;
  const double standard = 1 / std::sqrt(static_cast<double>(kKeys));
  for (const bool transposed : {false, true}) {
    Gradient a(77, kRows, kSize, transposed, false);
    std::vector<double> mean(kRows * kSize), along(kRows * kSize), across(kRows * kSize);
    std::vector<double> scale(kRows);
    for (std::size_t i = 0; i < kRows; ++i)
      for (std::size_t l = 0; l < kSize; ++l)
        scale[i] = std::max(scale[i], static_cast<double>(std::abs(a.at(i, l))) / 127);
    for (std::uint64_t key = 0; key < kKeys; ++key) {
      const std::vector<float> c = rounded_row(key, a);
      std::vector<double> error(c.size());
      for (std::size_t i = 0; i < c.size(); ++i)
        error[i] = static_cast<double>(c[i] - a.at(i / kSize, i % kSize)) / scale[i / kSize];
      for (std::size_t i = 0; i < c.size(); ++i) {
        mean[i] += error[i] / kKeys;
        ASSERT_LT(std::abs(error[i]), 1.01);
        if (i % kSize) along[i] += error[i] * error[i - 1] / kKeys;
        if (i >= kSize) across[i] += error[i] * error[i - kSize] / kKeys;
      }
    }
    for (std::size_t i = 0; i < mean.size(); ++i) {
      EXPECT_LT(std::abs(mean[i]), 1.0 / 500 + 2.5 * standard) << i;
      EXPECT_LT(std::abs(along[i]), 1e-3 + 1.25 * standard) << i;
      EXPECT_LT(std::abs(across[i]), 1e-3 + 1.25 * standard) << i;
    }
  }
}

TEST(BackwardInt8, MeansOverKeysApproachTheFloatProductWithTheVarianceOfTheClosedForm) {
  // x / scale = integer + f is rounded up with probability f, so C's error has variance scale^2 sum f (1 - f) o^2, the
  // mean over N keys an N-th of it: the distance falls as 1 / sqrt N. Over m n entries the mean of squared errors in
  // units of that variance is 1 with a standard deviation of about sqrt(2 / (m n)) = .035.
  SerialExecutor serial;
  const std::size_t m = 200, n = 8, k = 700;
  for (const bool transposed : {false, true}) {
    Gradient a(51, m, k, transposed, true);
    const Codes b(6, k, n, *find_grid("4"));
    const std::size_t length = gradient_block(k);
    std::vector<double> exact(m * n), variance(m * n), sum(m * n);
    for (std::size_t i = 0; i < m; ++i)
      for (std::size_t begin = 0; begin < k; begin += length) {
        const std::size_t end = std::min(begin + length, k);
        double top = 0;
        for (std::size_t l = begin; l < end; ++l) top = std::max(top, static_cast<double>(std::abs(a.scaled(i, l))));
        for (std::size_t l = begin; l < end; ++l) {
          const double x = static_cast<double>(a.scaled(i, l)), cells = x / top * 127, f = cells - std::floor(cells);
          for (std::size_t j = 0; j < n; ++j) {
            exact[i * n + j] += x * b.value(l, j);
            variance[i * n + j] += std::pow(top / 127 * b.value(l, j), 2) * f * (1 - f);
          }
        }
      }
    std::vector<float> c(m * n);
    for (std::uint64_t keys = 1; keys <= 1024; ++keys) {
      backward_product_int8(serial, keys * 0x9e3779b97f4a7c15ull, m, n, k, a.view, b.view, c.data(), n, false);
      for (std::size_t i = 0; i < c.size(); ++i) sum[i] += static_cast<double>(c[i]);
      if (keys != 1 && keys != 32 && keys != 1024) continue;
      double ratio = 0;
      for (std::size_t i = 0; i < c.size(); ++i)
        ratio += std::pow(sum[i] / static_cast<double>(keys) - exact[i], 2) / (variance[i] / static_cast<double>(keys));
      EXPECT_NEAR(ratio / static_cast<double>(c.size()), 1, 0.15)
          << keys << (transposed ? " keys, transposed" : " keys");
    }
  }
}

TEST(BackwardInt8, IsNearTheProductOfHeavyTailedGradients) {
  // Cubes of normal values: a kurtosis of about 50. 8 bits over blocks of at most 512 leave some 4 % of noise.
  SerialExecutor serial;
  const std::size_t m = 64, n = 96, k = 2048;
  for (const bool transposed : {false, true}) {
    Gradient a(21, m, k, transposed, false);
    for (float& x : a.stored) x = x * x * x;
    const Codes b(4, k, n, *find_grid("4"));
    std::vector<double> exact(m * n);
    for (std::size_t i = 0; i < m; ++i)
      for (std::size_t l = 0; l < k; ++l)
        for (std::size_t j = 0; j < n; ++j) exact[i * n + j] += static_cast<double>(a.at(i, l)) * b.value(l, j);
    std::vector<float> c(m * n);
    backward_product_int8(serial, 5, m, n, k, a.view, b.view, c.data(), n, false);
    const double error = relative_error(c, exact);
    EXPECT_LT(error, 0.05);
    EXPECT_GT(error, 0.005);
  }
}

TEST(BackwardInt8, OfNothingIsZeroOrLeavesTheSumAlone) {
  SerialExecutor serial;
  Gradient a(1, 2, 1, false, false);
  const Codes b(1, 1, 3, *find_grid("4"));
  std::vector<float> c(6, 3.0f);
  backward_product_int8(serial, 1, 2, 3, 0, a.view, b.view, c.data(), 3, true);
  EXPECT_EQ(c, std::vector<float>(6, 3.0f));
  backward_product_int8(serial, 1, 2, 3, 0, a.view, b.view, c.data(), 3, false);
  EXPECT_EQ(c, std::vector<float>(6, 0.0f));
}

TEST(BackwardInt8, HasAFormOfItsOwnForEveryInstructionSet) {
  std::set<std::string> names;
  for (const Machine& machine : instruction_sets()) {
    const OnlyMachine only(machine);
    names.insert(int8_form().name);
  }
  EXPECT_EQ(names.size(), instruction_sets().size());
}

}  // namespace
}  // namespace lowbit::kernels
