#include <algorithm>
#include <cmath>

#include "lowbit/autograd/layers.h"
#include "lowbit/autograd/tensors.h"
#include "lowbit/kernels/reference.h"

// Quantizer steps that are parameters: LSQ, LSQ+, PACT, and AdaBin's two values a side.
namespace lowbit::autograd {

namespace {
double largest_level(const Grid& grid) { return std::max(1, grid.highest()); }
}  // namespace

void FirstStep::see(Executor& executor, int group, std::size_t rows, std::size_t k, const float* x) {
  Buffer<float> rotated(rows * k);
  kernels::rotate_rows(executor, group, rows, k, x, k, rotated.data(), k);
  for (const float v : rotated) {
    const auto value = static_cast<double>(v);
    magnitudes_ += std::abs(value);
    sum_ += value;
    squares_ += value * value;
    least_ = count_ > 0 ? std::min(least_, value) : value;
    count_ += 1;
  }
}

float FirstStep::step(Estimator estimator, const Grid& grid, bool input) const {
  if (!learns_offset(estimator)) return static_cast<float>(2 * (magnitudes_ / count_) / std::sqrt(largest_level(grid)));
  const double around = input && estimator != Estimator::lsq_plus_code ? mean() : 0;
  const double deviation = std::sqrt(std::max(0.0, squares_ / count_ - around * around));
  return static_cast<float>((grid.alpha * deviation + 1e-8) * (grid.zero_is_level ? 1 : 2.0 / (grid.levels - 1)));
}

float FirstStep::offset(Estimator estimator, const Grid& grid) const {
  if (estimator != Estimator::lsq_plus_code) return static_cast<float>(mean());
  return static_cast<float>(least_ + static_cast<double>(step(estimator, grid, true)) * grid.levels / 2);
}

void LinearGroup::set_steps(std::vector<Parameter*> weights, Parameter* input, Parameter* input_offset) {
  weight_steps_ = std::move(weights);
  input_step_ = input;
  input_offset_ = input_offset;
}

// With alpha = D / 2; both gradients scaled as LSQ's, so that they do not take up the clip of the global norm.
void LinearGroup::add_adabin_gradient(const SideCoding& side, int group, std::size_t rows, std::size_t all_rows,
                                      std::size_t k, float* g, const float* x) {
  Executor& executor = *context_.executor;
  const auto sums = kernels::adabin_input(executor, group, 0.5f * static_cast<float>(side.step),
                                          static_cast<float>(side.offset), rows, k, g, x);
  const double scale = 1 / std::sqrt(static_cast<double>(all_rows * k));
  *mutable_data(input_step_->grad) += static_cast<float>(scale * 0.5 * sums.alpha);
  *mutable_data(input_offset_->grad) += static_cast<float>(scale * sums.beta);
}

void LinearGroup::through_deviation(std::size_t i, float* d) {
  Executor& executor = *context_.executor;
  const nn::LinearWeights& w = *weights_[i];
  const std::size_t n = w.n(), k = w.k();
  rotated_.resize(n * k);
  kernels::rotate_rows(executor, w.coding().group, n, k, data(parameters_[i]->value), k, rotated_.data(), k);
  executor.parallel_for(n, [&](std::size_t row) {
    kernels::reference::shift_row<float>({rotated_.data() + row * k, k}, w.offset()[row]);
  });
  kernels::adabin_weights(executor, w.scale(), n, k, d, rotated_.data());
}

// LSQ scales the gradient by 1 / sqrt(entries * q), PACT does not.
void LinearGroup::add_step_gradient(Parameter& step, Parameter* offset, const SideCoding& side, int group,
                                    std::size_t rows, std::size_t all_rows, std::size_t k, const float* g,
                                    const float* x, const std::uint8_t* codes) {
  Executor& executor = *context_.executor;
  const bool lsq = context_.estimator == Estimator::lsq || learns_offset(context_.estimator);
  const auto around = static_cast<float>(offset ? side.offset : 0);
  const auto sums =
      kernels::step_gradient(executor, group, *side.grid, *data(step.value), around, !lsq, rows, k, g, x, codes);
  const double scale = lsq ? 1 / std::sqrt(static_cast<double>(all_rows * k) * largest_level(*side.grid)) : 1;
  *mutable_data(step.grad) += static_cast<float>(scale * sums.step);
  if (offset) *mutable_data(offset->grad) += static_cast<float>(scale * sums.offset);
}

}  // namespace lowbit::autograd
