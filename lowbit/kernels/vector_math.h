#pragma once
#include <cstddef>

namespace lowbit::kernels {

/// y[i] = math::exp(x[i]), the same bits on every instruction set. y may be x.
void exp_values(std::size_t n, const float* x, float* y);
void exp_values(std::size_t n, const double* x, double* y);

/// cos and sin of each angle: math::cos, math::sin, the same bits on every instruction set.
void cos_sin_values(std::size_t n, const double* angle, double* cos, double* sin);

}  // namespace lowbit::kernels
