#pragma once
#include <cstdint>
#include <deque>
#include <vector>

#include "lowbit/autograd/llama.h"

namespace lowbit::train {

struct AdamWOptions {
  double beta1, beta2, eps, weight_decay, clip;
  double gain_lr = 0;  ///< times the rate of the weights
};

/// AdamW with decoupled decay (Loshchilov and Hutter 2019, arXiv 1711.05101) through libtorch's fused step, float32
/// moments. Decay only on the blocks' linear weights; one global gradient-norm clip over all parameters (QuEST, section
/// 4).
class AdamW {
 public:
  /// Steps that are learned have the rate and the decay of weights (methods.md), gains gain_lr times the rate and no
  /// decay. The model must live as long.
  AdamW(Executor& executor, autograd::Llama& llama, const AdamWOptions& options);

  /// Applies the gradients with learning rate lr; step counts from 1. returns the gradient norm before clipping. When
  /// that is not finite nothing is changed.
  double update(std::int64_t step, double lr);

  /// Of the parameters, then of the steps, then of the gains.
  std::vector<autograd::Parameter*>& parameters() { return parameters_; }
  std::vector<at::Tensor>& first_moments() { return first_; }
  std::vector<at::Tensor>& second_moments() { return second_; }

 private:
  Executor& executor_;
  std::vector<autograd::Parameter*> parameters_;
  std::vector<double> rate_, decay_;  ///< of each: times lr; decoupled decay
  AdamWOptions options_;
  std::vector<at::Tensor> first_, second_;  ///< in the order of parameters
};

}  // namespace lowbit::train
