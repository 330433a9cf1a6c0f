#include "kernels/float_cases.h"

namespace lowbit::kernels {
namespace {

using namespace test_cases;

TEST(VectorExpLong, GivesTheScalarBitsOfEveryFloat) {
  std::vector<float> x(1 << 20);
  for (std::uint64_t first = 0; first < std::uint64_t{1} << 32; first += x.size()) {
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = std::bit_cast<float>(static_cast<std::uint32_t>(first + i));
    compare_float_exp(x, "floats in order");
  }
}

TEST(Bf16ProductLong, OfBillionsOfStepsOfEveryExponentIsTheSameInEveryVectorForm) {
  compare_wild_sums(100, 2);
  compare_wild_sums(50, 256);
}

}  // namespace
}  // namespace lowbit::kernels
