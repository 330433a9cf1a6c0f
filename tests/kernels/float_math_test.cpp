#include "lowbit/base/math.h"

#include <numbers>

#include "kernels/float_support.h"
#include "kernels/float_cases.h"
#include "lowbit/kernels/vector_math.h"

namespace lowbit::kernels {
namespace {

using namespace test_cases;

/// The floats about each of these.
std::vector<float> interesting_floats() {
  std::vector<float> centres{0.0f, -0.0f, 88.72f, -87.336f, 87.336f, 1.0f, -1.0f, 1e-30f, -1e-30f, 1e30f, -1e30f};
  for (int n = -127; n <= 129; ++n) {
    centres.push_back(static_cast<float>(n * std::numbers::ln2));
    centres.push_back(static_cast<float>((n + 0.5) * std::numbers::ln2));  // where the nearest integer changes
  }
  for (std::uint32_t special :
       {0x7F800000u, 0xFF800000u, 0x7FC00000u, 0xFFC00000u, 0x7F800001u, 0x00800000u, 0x80800000u})
    centres.push_back(std::bit_cast<float>(special));
  std::vector<float> all;
  for (float centre : centres)
    for (std::uint32_t step = 0; step < 256; ++step)
      all.push_back(std::bit_cast<float>(std::bit_cast<std::uint32_t>(centre) + step - 128));
  return all;
}

TEST(VectorExp, GivesTheScalarBitsNearEveryEdge) { compare_float_exp(interesting_floats(), "floats near edges"); }

TEST(VectorExp, GivesTheScalarBitsOfMillionsOfRandomFloats) {
  const Rng rng(1);
  std::vector<float> x(1 << 20);
  for (std::uint64_t round = 0; round < 4; ++round) {
    for (std::size_t i = 0; i < x.size(); ++i) {
      const std::uint64_t bits = rng.bits(round * x.size() + i);
      // Half any bits at all, half where exp is neither 0 nor infinite.
      x[i] = i % 2 ? std::bit_cast<float>(static_cast<std::uint32_t>(bits))
                   : static_cast<float>(static_cast<double>(bits >> 11) * 0x1p-53 * 176.5 - 87.5);
    }
    compare_float_exp(x, "random floats");
  }
}

TEST(VectorExp, WritesOnlyWhatItIsAskedFor) {
  for (const Form& form : every_form()) {
    const UseForm use(form);
    for (std::size_t n : {0, 1, 7, 8, 9, 15, 16, 17, 31, 33}) {
      Guarded y(n, 0.5f);
      exp_values(n, y.data(), y.data());
      EXPECT_TRUE(y.whole()) << form.name() << " n " << n;
      EXPECT_EQ(differing(y.inside(), std::vector<float>(n, math::exp(0.5f))), 0u) << form.name() << " n " << n;
    }
  }
}

void compare_doubles(const std::vector<double>& x, bool angles) {
  std::vector<double> want[2], got[2];
  for (auto* v : {want, got}) v[0].resize(x.size()), v[1].resize(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    want[0][i] = angles ? math::cos(x[i]) : math::exp(x[i]);
    want[1][i] = angles ? math::sin(x[i]) : 0.0;
  }
  for (const Form& form : every_form()) {
    const UseForm use(form);
    if (angles)
      cos_sin_values(x.size(), x.data(), got[0].data(), got[1].data());
    else
      exp_values(x.size(), x.data(), got[0].data());
    for (int i : {0, 1}) EXPECT_EQ(differing(got[i], want[i]), 0u) << form.name();
  }
}

TEST(VectorExp, OfDoublesGivesTheScalarBits) {
  const Rng rng(2);
  std::vector<double> x{0.0, -0.0, 709.78, 709.79, -708.0, -708.1, 1e300, -1e300, INFINITY, -INFINITY, NAN};
  for (int n = -1025; n <= 1025; ++n)
    for (int step = -3; step <= 3; ++step)
      for (double half : {0.0, 0.5})
        x.push_back(std::bit_cast<double>(std::bit_cast<std::uint64_t>((n + half) * std::numbers::ln2) +
                                          static_cast<std::uint64_t>(step)));
  for (std::uint64_t i = 0; i < 500'000; ++i) x.push_back(rng.uniform(i) * 1420 - 710);
  for (std::uint64_t i = 500'000; i < 600'000; ++i) x.push_back(std::bit_cast<double>(rng.bits(i)));
  compare_doubles(x, false);
}

TEST(VectorCosSin, GivesTheScalarBitsUpToTheLongestContext) {
  const Rng rng(3);
  std::vector<double> x{0.0, -0.0};
  for (int n = -2000; n <= 2000; ++n)
    for (int step = -3; step <= 3; ++step)
      x.push_back(std::bit_cast<double>(std::bit_cast<std::uint64_t>(n * std::numbers::pi / 4) +
                                        static_cast<std::uint64_t>(step)));
  for (std::uint64_t i = 0; i < 300'000; ++i) x.push_back((rng.uniform(i) - 0.5) * (i % 2 ? 20 : 3e6));
  compare_doubles(x, true);
}

}  // namespace
}  // namespace lowbit::kernels
