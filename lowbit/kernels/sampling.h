#pragma once
#include <cstddef>
#include <cstdint>

// The passes over a whole vocabulary that sampling needs. All give the same bits on every instruction set: maxima,
// comparisons and counts are exact, exp is math::exp(float), and sums have one order.
namespace lowbit::kernels {

/// Sums of weights are formed in blocks of so many: within a block element i is added to partial sum i mod 16, in
/// double, then the tree 8, 4, 2, 1.
inline constexpr std::size_t kWeightBlock = 1024;
constexpr std::size_t weight_blocks(std::size_t n) { return (n + kWeightBlock - 1) / kWeightBlock; }

/// What gather_* may write past the elements that it returns.
inline constexpr std::size_t kGatherSlack = 16;

/// A place in the order of likelihood: larger values first, of equal ones the lower index.
struct Rank {
  float value;
  std::size_t index;
};

/// The largest of n > 0 values; NaN if one of them is NaN.
float largest(std::size_t n, const float* x);
/// The index of the first element that equals value, or n.
std::size_t first_equal(std::size_t n, const float* x, float value);

/// w[i] = math::exp((x[i] - top) * slope), or 0 where that is less than `least`; sums [weight_blocks(n)].
void exp_weights(std::size_t n, const float* x, float top, float slope, float least, float* w, double* sums);
/// The sums of the weights of those that stand before a rank: larger, or equal with a lower index.
void sums_before(std::size_t n, const float* x, const float* w, Rank rank, double* sums);

/// Copies the elements with low <= x[i] <= high to `out` in their order, with room for n + kGatherSlack, not x itself.
/// returns how many; above: how many are larger than high.
std::size_t gather_between(std::size_t n, const float* x, float low, float high, float* out, std::size_t& above);
/// The same from low on, with their indices.
std::size_t gather_from(std::size_t n, const float* x, float low, float* out, std::int32_t* index);

}  // namespace lowbit::kernels
