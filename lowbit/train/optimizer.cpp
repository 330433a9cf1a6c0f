#include "lowbit/train/optimizer.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>

namespace lowbit::train {

AdamW::AdamW(Executor& executor, std::deque<autograd::Parameter>& parameters, const AdamWOptions& options)
    : executor_(executor), parameters_(parameters), options_(options) {
  const at::NoGradGuard no_gradients;
  for (const autograd::Parameter& p : parameters_) {
    first_.push_back(at::zeros_like(p.grad));
    second_.push_back(at::zeros_like(p.grad));
  }
}

double AdamW::update(std::int64_t step, double lr) {
  const at::NoGradGuard no_gradients;
  double squares = 0;
  for (const autograd::Parameter& p : parameters_)
    squares += kernels::sum_of_squares(executor_, static_cast<std::size_t>(p.grad.numel()), p.grad.const_data_ptr<float>());
  const double norm = std::sqrt(squares);
  if (!std::isfinite(norm)) return norm;
  // The fused step divides gradients by this, so clipping costs no pass of its own.
  const double divisor = std::max(1.0, (norm + 1e-6) / options_.clip);
  const at::Tensor scale = divisor > 1 ? at::full({}, divisor, at::kFloat) : at::Tensor();
  const at::Tensor inf = at::full({}, 0.0, at::kFloat);
  for (const bool decayed : {true, false}) {
    std::vector<at::Tensor> values, grads, first, second, no_max, steps;
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
      if (parameters_[i].spec.linear() != decayed) continue;
      values.push_back(parameters_[i].value);
      grads.push_back(parameters_[i].grad);
      first.push_back(first_[i]);
      second.push_back(second_[i]);
      steps.push_back(at::full({}, static_cast<double>(step), at::kFloat));
    }
    at::_fused_adamw_(values, grads, first, second, no_max, steps, lr, options_.beta1, options_.beta2,
                      decayed ? options_.weight_decay : 0.0, options_.eps, /*amsgrad=*/false, /*maximize=*/false,
                      divisor > 1 ? std::optional(scale) : std::nullopt, std::optional(inf));
  }
  return norm;
}

}  // namespace lowbit::train
