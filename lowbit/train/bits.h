#pragma once
#include <vector>

#include "lowbit/autograd/llama.h"
#include "lowbit/report/metrics.h"
#include "lowbit/train/feed.h"
#include "lowbit/train/options.h"

// --bits-budget: which weight format each layer goes on with, chosen once in the run (docs/explain/methods.md, "Bits by
// layer").
namespace lowbit::train {

/// One layer whose weights are coded: what it may become.
struct BitsLayer {
  model::TensorSpec spec;
  std::vector<Format> formats;      ///< those of --bits-choices with the layer's own activations
  std::vector<std::int64_t> bytes;  ///< as pack stores them
};
struct BitsPlan {
  std::vector<BitsLayer> layers;
  std::int64_t weights = 0, budget_bytes = 0;     ///< of these layers: what the budget leaves when the others are paid
  std::int64_t all_weights = 0, fixed_bytes = 0;  ///< of all layers of the blocks; of those whose weights are not coded
};
/// throws Error(usage): choices that there are not, a format without coded weights, a budget below the fewest bits.
BitsPlan plan_bits(const Options& options);

/// The step after which the choice is made, counted as updates done.
std::int64_t bits_step(const Options& options);

/// Measures how the loss answers to noise in each layer's weights, on windows from `cursor` on (which the run has not
/// come to yet, and where the data has no more, the last ones), predicts what each choice costs and allots the budget.
/// The model is given back as it was. The same on any number of threads.
/// chosen   out: rules that follow those of the scheme.
report::BitsRecord choose_bits(Executor& executor, autograd::Llama& llama, const Feed& feed, std::uint64_t cursor,
                               std::int64_t step, const Options& options, std::vector<LayerFormat>& chosen);

}  // namespace lowbit::train
