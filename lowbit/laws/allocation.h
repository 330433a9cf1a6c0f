#pragma once
#include <cstdint>
#include <vector>

namespace lowbit::laws {

/// One way to store a layer.
struct StorageChoice {
  std::int64_t bytes = 0;
  double cost = 0;  ///< what it adds to the loss, in any unit that all layers share
};

struct Allocation {
  std::vector<std::size_t> choice;  ///< of each layer, an index into its choices
  std::int64_t bytes = 0;
  double cost = 0;  ///< sums over the layers, in their order
};

/// The choice of each layer that has the least sum of costs among all whose bytes sum to at most `budget`: exactly, by
/// dynamic programming over the bytes that layers so far may take; of equal costs the one of fewer bytes.
/// Time and memory grow with the number of different sums of bytes, which for matrices are few: sizes share large
/// factors. layers   each with one choice or more, bytes not negative, costs finite. throws Error(usage) that tells the
/// least bytes when even those exceed the budget. source   Malinovskii et al. 2024, arXiv 2411.17525, section 5: the
/// multiple-choice knapsack of bit allocation.
Allocation allocate(const std::vector<std::vector<StorageChoice>>& layers, std::int64_t budget);

/// Noise of relative size t2 = |noise|^2 / |weights|^2 in a layer, and the change of the loss that it made.
struct NoiseSample {
  double t2 = 0, change = 0;
  double error = 0;  ///< standard error of the change
};
struct Sensitivity {
  double alpha = 0;
  double error = 0;  ///< standard error, as if those of the samples went together (they share their text)
  /// What to reckon with: a layer that noise seems to help, or hardly to touch, may still have an alpha as large as the
  /// error.
  double cautious() const { return alpha > error ? alpha : error; }
};
/// alpha of change = alpha t2, by least squares through the origin: sum(t2 change) / sum(t2^2); 0 without samples.
/// source   the same, section 3 and its published code; the error is ours.
Sensitivity sensitivity(const std::vector<NoiseSample>& samples);

}  // namespace lowbit::laws
