#pragma once
#include <cstdint>
#include <vector>

#include "lowbit/bench/measure.h"
#include "lowbit/nn/kernel_choice.h"
#include "lowbit/nn/linear.h"

namespace lowbit::bench {

/// A product with random weights, beside what the machine model says of it.
struct MeasuredProduct {
  nn::Choice choice;  ///< the kernel that running models take, and what it could attain
  Ceiling bound;      ///< the ceiling that the share is of: what the model says bounds it
  double amount = 0;  ///< operations or bytes of one product, in what `bound` counts
  Beside beside;
};

/// Measures nn::linear alone: the input is prepared before. Weights that lie in memory (product.weights_in_turn) are
/// met as they would be in a model: several copies, one after another, more than the caches hold.
/// coding   format, groups and trust factors of the layer.  throws Interrupted.
MeasuredProduct measure_product(Executor& executor, CeilingMeter& meter, const Rates& rates, const nn::Product& product,
                                const model::TensorCoding& coding, int rounds, std::uint64_t seed);

}  // namespace lowbit::bench
