#include "lowbit/kernels/vector_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lowbit/kernels/vector_math.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#include "lowbit/base/math.h"
#include "lowbit/kernels/vector_math-inl.h"
#include "lowbit/kernels/vector_math.h"

#if LOWBIT_VECTOR_TARGET
HWY_BEFORE_NAMESPACE();
namespace lowbit::kernels::HWY_NAMESPACE {

void exp_floats(std::size_t n, const float* x, float* y) {
  for (std::size_t i = 0; i < n; i += kLanes) store_first(exp(load_first(x + i, n - i)), y + i, n - i);
}

void exp_doubles(std::size_t n, const double* x, double* y) {
  const Double d;
  std::size_t i = 0;
  for (; i + kDoubleLanes <= n; i += kDoubleLanes) hn::StoreU(exp(hn::LoadU(d, x + i)), d, y + i);
  for (; i < n; ++i) y[i] = hn::GetLane(exp(hn::Set(d, x[i])));
}

/// detail::sin_poly and cos_poly, operation for operation.
HWY_INLINE DoubleVector sin_poly(DoubleVector x, DoubleVector low) {
  const Double d;
  const auto z = hn::Mul(x, x);
  auto p = hn::Set(d, -1.0 / 1307674368000);
  p = hn::MulAdd(p, z, hn::Set(d, 1.0 / 6227020800));
  p = hn::MulAdd(p, z, hn::Set(d, -1.0 / 39916800));
  p = hn::MulAdd(p, z, hn::Set(d, 1.0 / 362880));
  p = hn::MulAdd(p, z, hn::Set(d, -1.0 / 5040));
  p = hn::MulAdd(p, z, hn::Set(d, 1.0 / 120));
  p = hn::MulAdd(p, z, hn::Set(d, -1.0 / 6));
  return hn::Add(x, hn::MulAdd(hn::Mul(p, z), x, low));
}
HWY_INLINE DoubleVector cos_poly(DoubleVector x, DoubleVector low) {
  const Double d;
  const auto z = hn::Mul(x, x);
  auto p = hn::Set(d, 1.0 / 20922789888000);
  p = hn::MulAdd(p, z, hn::Set(d, -1.0 / 87178291200));
  p = hn::MulAdd(p, z, hn::Set(d, 1.0 / 479001600));
  p = hn::MulAdd(p, z, hn::Set(d, -1.0 / 3628800));
  p = hn::MulAdd(p, z, hn::Set(d, 1.0 / 40320));
  p = hn::MulAdd(p, z, hn::Set(d, -1.0 / 720));
  p = hn::MulAdd(p, z, hn::Set(d, 1.0 / 24));
  const auto half = hn::Mul(hn::Set(d, 0.5), z);
  const auto one = hn::Set(d, 1.0);
  const auto w = hn::Sub(one, half);
  const auto rest = hn::MulAdd(hn::Mul(p, z), z, hn::Mul(hn::Neg(x), low));
  return hn::Add(w, hn::Add(hn::Sub(hn::Sub(one, w), half), rest));
}

HWY_INLINE void cos_sin(DoubleVector x, DoubleVector& cosine, DoubleVector& sine) {
  const Double d;
  const hn::RebindToUnsigned<Double> du;
  const auto round = hn::Set(d, 0x1.8p52);
  const auto shifted = hn::MulAdd(x, hn::Set(d, 0x1.45f306dc9c883p-1), round);
  const auto k = hn::Sub(shifted, round);
  const auto a = hn::NegMulAdd(k, hn::Set(d, 0x1.921fb54400000p+0), x);
  const auto b = hn::Mul(k, hn::Set(d, 0x1.0b4611a600000p-34));
  const auto high = hn::Sub(a, b);
  const auto low = hn::Sub(hn::Sub(hn::Sub(a, high), b), hn::Mul(k, hn::Set(d, 0x1.3198a2e037073p-69)));
  // The quadrant is in the low bits of k + 1.5 * 2^52; a sign is a bit moved to the top.
  const auto quadrant = hn::BitCast(du, shifted);
  const auto odd = hn::RebindMask(d, hn::Eq(hn::And(quadrant, hn::Set(du, 1)), hn::Set(du, 1)));
  const auto s = sin_poly(high, low), c = cos_poly(high, low);
  const auto top = hn::Set(du, std::uint64_t{1} << 63);
  const auto sine_sign = hn::And(hn::ShiftLeft<62>(quadrant), top);
  const auto cosine_sign = hn::And(hn::ShiftLeft<62>(hn::Add(quadrant, hn::Set(du, 1))), top);
  sine = hn::Xor(hn::IfThenElse(odd, c, s), hn::BitCast(d, sine_sign));
  cosine = hn::Xor(hn::IfThenElse(odd, s, c), hn::BitCast(d, cosine_sign));
}

void cos_sin_doubles(std::size_t n, const double* angle, double* cosine, double* sine) {
  const Double d;
  DoubleVector c, s;
  std::size_t i = 0;
  for (; i + kDoubleLanes <= n; i += kDoubleLanes) {
    cos_sin(hn::LoadU(d, angle + i), c, s);
    hn::StoreU(c, d, cosine + i);
    hn::StoreU(s, d, sine + i);
  }
  for (; i < n; ++i) {
    cos_sin(hn::Set(d, angle[i]), c, s);
    cosine[i] = hn::GetLane(c);
    sine[i] = hn::GetLane(s);
  }
}

}  // namespace lowbit::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // LOWBIT_VECTOR_TARGET

#if HWY_ONCE
#include "lowbit/machine/isa.h"

namespace lowbit::kernels {
namespace scalar {

void exp_floats(std::size_t n, const float* x, float* y) {
  for (std::size_t i = 0; i < n; ++i) y[i] = math::exp(x[i]);
}
void exp_doubles(std::size_t n, const double* x, double* y) {
  for (std::size_t i = 0; i < n; ++i) y[i] = math::exp(x[i]);
}
void cos_sin_doubles(std::size_t n, const double* angle, double* cosine, double* sine) {
  for (std::size_t i = 0; i < n; ++i) {
    cosine[i] = math::cos(angle[i]);
    sine[i] = math::sin(angle[i]);
  }
}

}  // namespace scalar

void exp_values(std::size_t n, const float* x, float* y) { LOWBIT_PICK(exp_floats)(n, x, y); }
void exp_values(std::size_t n, const double* x, double* y) { LOWBIT_PICK(exp_doubles)(n, x, y); }
void cos_sin_values(std::size_t n, const double* angle, double* cos, double* sin) {
  LOWBIT_PICK(cos_sin_doubles)(n, angle, cos, sin);
}

}  // namespace lowbit::kernels
#endif  // HWY_ONCE
