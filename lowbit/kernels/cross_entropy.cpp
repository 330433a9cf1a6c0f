#include "lowbit/kernels/vector_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lowbit/kernels/cross_entropy.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#include "lowbit/base/math.h"
#include "lowbit/kernels/elementwise.h"
#include "lowbit/kernels/reference.h"
#include "lowbit/kernels/vector_math-inl.h"

#if LOWBIT_VECTOR_TARGET
HWY_BEFORE_NAMESPACE();
namespace lowbit::kernels::HWY_NAMESPACE {

constexpr std::size_t kDoubleParts = 16 / kDoubleLanes;

HWY_INLINE DoubleVector widen(const float* z) {
  const hn::Half<Float> dh;
  return hn::PromoteTo(Double(), hn::LoadU(dh, z));
}

double cross_entropy_row(std::size_t n, const float* z, std::size_t target, float* gradient, float scale) {
  const Float d;
  const Double dd;
  // A NaN in front stays the maximum, one further on is passed over: the order of the operands is the reference's.
  auto highest = hn::Set(d, z[0]);
  std::size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) highest = hn::Max(hn::LoadU(d, z + i), highest);
  float top = hn::GetLane(hn::MaxOfLanes(d, highest));
  for (; i < n; ++i) top = z[i] > top ? z[i] : top;

  DoubleVector part[kDoubleParts];
#pragma GCC unroll 16
  for (std::size_t p = 0; p < kDoubleParts; ++p) part[p] = hn::Zero(dd);
  const auto shift = hn::Set(dd, static_cast<double>(top));
  for (i = 0; i + 16 <= n; i += 16)
#pragma GCC unroll 16
    for (std::size_t p = 0; p < kDoubleParts; ++p)
      part[p] = hn::Add(part[p], exp(hn::Sub(widen(z + i + p * kDoubleLanes), shift)));
  alignas(64) double sums[16];
  for (std::size_t p = 0; p < kDoubleParts; ++p) hn::Store(part[p], dd, sums + p * kDoubleLanes);
  for (; i < n; ++i)
    sums[i % 16] += hn::GetLane(exp(hn::Set(dd, static_cast<double>(z[i]) - static_cast<double>(top))));
  for (std::size_t half = 8; half > 0; half /= 2)
    for (i = 0; i < half; ++i) sums[i] += sums[i + half];
  const double loss = math::log(sums[0]) + (static_cast<double>(top) - static_cast<double>(z[target]));
  if (!gradient) return loss;

  const auto top_vector = hn::Set(d, top), factor = hn::Set(d, static_cast<float>(scale / sums[0]));
  const float at_target = static_cast<float>((math::exp(-loss) - 1.0) * scale);
  for (i = 0; i < n; i += kLanes)
    store_first(hn::Mul(exp(hn::Sub(load_first(z + i, n - i), top_vector)), factor), gradient + i, n - i);
  gradient[target] = at_target;
  return loss;
}

}  // namespace lowbit::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // LOWBIT_VECTOR_TARGET

#if HWY_ONCE
#include <cassert>

#include "lowbit/machine/isa.h"

namespace lowbit::kernels {
namespace scalar {

double cross_entropy_row(std::size_t n, const float* z, std::size_t target, float* gradient, float scale) {
  const double loss = reference::cross_entropy_row(std::span(z, n), target);
  if (!gradient) return loss;
  // log of the sum: loss = log sum exp - z_target.
  const double log_sum = loss + static_cast<double>(z[target]);
  for (std::size_t i = 0; i < n; ++i)
    gradient[i] = static_cast<float>((math::exp(static_cast<double>(z[i]) - log_sum) - (i == target ? 1.0 : 0.0)) *
                                     static_cast<double>(scale));
  return loss;
}

}  // namespace scalar

void cross_entropy(Executor& executor, std::size_t rows, std::size_t vocabulary, const float* logits,
                   const std::int32_t* targets, double* loss, float* dlogits, float scale) {
  const auto run = LOWBIT_PICK(cross_entropy_row);
  executor.parallel_for(rows, [&](std::size_t row) {
    const auto target = static_cast<std::size_t>(targets[row]);
    assert(target < vocabulary);
    loss[row] =
        run(vocabulary, logits + row * vocabulary, target, dlogits ? dlogits + row * vocabulary : nullptr, scale);
  });
}

}  // namespace lowbit::kernels
#endif  // HWY_ONCE
