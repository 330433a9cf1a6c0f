#include "lowbit/train/optimizer.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>

namespace lowbit::train {

AdamW::AdamW(Executor& executor, autograd::Llama& llama, const AdamWOptions& options)
    : executor_(executor), options_(options) {
  const at::NoGradGuard no_gradients;
  const auto add = [&](autograd::Parameter& p, double rate, double decay) {
    parameters_.push_back(&p);
    rate_.push_back(rate);
    decay_.push_back(decay);
    first_.push_back(at::zeros_like(p.grad));
    second_.push_back(at::zeros_like(p.grad));
  };
  for (autograd::Parameter& p : llama.parameters()) add(p, 1, p.spec.linear() ? options.weight_decay : 0.0);
  for (autograd::Parameter& p : llama.steps()) add(p, 1, options.weight_decay);
  for (autograd::Parameter& p : llama.gains()) add(p, options.gain_lr, 0);
}

double AdamW::update(std::int64_t step, double lr) {
  const at::NoGradGuard no_gradients;
  double squares = 0;
  for (const autograd::Parameter* p : parameters_)
    squares +=
        kernels::sum_of_squares(executor_, static_cast<std::size_t>(p->grad.numel()), p->grad.const_data_ptr<float>());
  const double norm = std::sqrt(squares);
  if (!std::isfinite(norm)) return norm;
  // The fused step divides gradients by this, so clipping costs no pass of its own.
  const double divisor = std::max(1.0, (norm + 1e-6) / options_.clip);
  const auto scale = divisor > 1 ? std::optional(at::full({}, divisor, at::kFloat)) : std::nullopt;
  const auto inf = std::optional(at::full({}, 0.0, at::kFloat));
  const at::Tensor count = at::full({}, static_cast<double>(step), at::kFloat);
  // Each value is updated by itself, so tensors are cut into tasks; a multiple of every vector's width.
  constexpr std::int64_t kChunk = std::int64_t{1} << 16;
  struct Piece {
    std::size_t tensor;
    std::int64_t begin;
  };
  std::vector<Piece> pieces;
  for (std::size_t i = 0; i < parameters_.size(); ++i)
    for (std::int64_t begin = 0; begin < parameters_[i]->value.numel(); begin += kChunk) pieces.push_back({i, begin});
  executor_.parallel_for(pieces.size(), [&](std::size_t task) {
    const at::NoGradGuard no_gradients_here;
    const Piece& piece = pieces[task];
    autograd::Parameter& p = *parameters_[piece.tensor];
    const std::int64_t n = std::min(kChunk, p.value.numel() - piece.begin);
    const auto part = [&](at::Tensor& t) { return t.view(-1).narrow(0, piece.begin, n); };
    at::_fused_adamw_({part(p.value)}, {part(p.grad)}, {part(first_[piece.tensor])}, {part(second_[piece.tensor])}, {},
                      {count}, lr * rate_[piece.tensor], options_.beta1, options_.beta2, decay_[piece.tensor],
                      options_.eps, /*amsgrad=*/false, /*maximize=*/false, scale, inf);
  });
  return norm;
}

}  // namespace lowbit::train
