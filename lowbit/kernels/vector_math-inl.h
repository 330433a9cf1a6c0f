// Included once per instruction set: Highway turns the toggle over between them.
#if defined(LOWBIT_KERNELS_VECTOR_MATH_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef LOWBIT_KERNELS_VECTOR_MATH_INL_H
#undef LOWBIT_KERNELS_VECTOR_MATH_INL_H
#else
#define LOWBIT_KERNELS_VECTOR_MATH_INL_H
#endif

#include <cstddef>
#include <cstdint>
#include <limits>

#include "hwy/highway.h"

#if LOWBIT_VECTOR_TARGET
HWY_BEFORE_NAMESPACE();
namespace lowbit::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Everything in these files is written in groups of 16 floats, which is one register or two.
using Float = hn::ScalableTag<float>;
using Double = hn::ScalableTag<double>;
using FloatVector = hn::Vec<Float>;
using DoubleVector = hn::Vec<Double>;
inline constexpr std::size_t kLanes = hn::MaxLanes(Float());
inline constexpr std::size_t kDoubleLanes = hn::MaxLanes(Double());
inline constexpr std::size_t kParts = 16 / kLanes;

/// The first n floats at p, the rest 0; only those are read.
HWY_INLINE FloatVector load_first(const float* p, std::size_t n) {
  const Float d;
  return n >= kLanes ? hn::LoadU(d, p) : hn::MaskedLoad(hn::FirstN(d, n), d, p);
}
/// The first n lanes; only those are written.
HWY_INLINE void store_first(FloatVector v, float* p, std::size_t n) {
  const Float d;
  if (n >= kLanes)
    hn::StoreU(v, d, p);
  else
    hn::BlendedStore(v, hn::FirstN(d, n), d, p);
}

/// x = k ln 2 + r with a whole k: shifted is k + 1.5 * 2^23, whose low bits are those of k; power is e^r.
struct ReducedExp {
  FloatVector shifted, k, power;
};
/// The part of math::exp(float) that every form shares, operation for operation.
HWY_INLINE ReducedExp reduced_exp(FloatVector x) {
  const Float d;
  const auto round = hn::Set(d, 0x1.8p23f);
  const auto shifted = hn::MulAdd(x, hn::Set(d, 0x1.715476p+0f), round);
  const auto k = hn::Sub(shifted, round);
  auto r = hn::NegMulAdd(k, hn::Set(d, 0x1.62e400p-1f), x);
  r = hn::NegMulAdd(k, hn::Set(d, 0x1.7f7d1cp-20f), r);
  auto p = hn::Set(d, 0x1.a01a02p-13f);
  p = hn::MulAdd(p, r, hn::Set(d, 0x1.6c16c2p-10f));
  p = hn::MulAdd(p, r, hn::Set(d, 0x1.111112p-7f));
  p = hn::MulAdd(p, r, hn::Set(d, 0x1.555556p-5f));
  p = hn::MulAdd(p, r, hn::Set(d, 0x1.555556p-3f));
  p = hn::MulAdd(p, r, hn::Set(d, 0.5f));
  p = hn::Add(hn::MulAdd(hn::Mul(p, r), r, r), hn::Set(d, 1.0f));
  return {shifted, k, p};
}

/// math::exp(float), operation for operation.
HWY_INLINE FloatVector exp(FloatVector x) {
  const Float d;
  const hn::RebindToSigned<Float> di;
  const ReducedExp reduced = reduced_exp(x);
  const auto k = reduced.k;
  auto p = reduced.power;
  const auto n = hn::ConvertTo(di, k);  // out of range where x is; those lanes are replaced below
  const auto half = hn::ShiftRight<1>(n);
  const auto bias = hn::Set(di, 127);
  p = hn::Mul(p, hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(half, bias))));
  p = hn::Mul(p, hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(hn::Sub(n, half), bias))));
  p = hn::IfThenElse(hn::Gt(x, hn::Set(d, 88.72f)), hn::Set(d, std::numeric_limits<float>::infinity()), p);
  p = hn::IfThenZeroElse(hn::Lt(x, hn::Set(d, -87.336f)), p);
  return hn::IfThenElse(hn::Eq(x, x), p, x);
}

/// math::exp(double), operation for operation, but that 2^n is multiplied in two exact steps for every n.
HWY_INLINE DoubleVector exp(DoubleVector x) {
  const Double d;
  const hn::RebindToSigned<Double> di;
  const hn::RebindToUnsigned<Double> du;
  const auto round = hn::Set(d, 0x1.8p52);
  const auto shifted = hn::MulAdd(x, hn::Set(d, 0x1.71547652b82fep+0), round);
  const auto k = hn::Sub(shifted, round);
  auto r = hn::NegMulAdd(k, hn::Set(d, 0x1.62e42fefa3800p-1), x);
  r = hn::NegMulAdd(k, hn::Set(d, 0x1.ef35793c76730p-45), r);
  auto p = hn::Set(d, 1.0 / 6227020800);
  p = hn::MulAdd(p, r, hn::Set(d, 1.0 / 479001600));
  p = hn::MulAdd(p, r, hn::Set(d, 1.0 / 39916800));
  p = hn::MulAdd(p, r, hn::Set(d, 1.0 / 3628800));
  p = hn::MulAdd(p, r, hn::Set(d, 1.0 / 362880));
  p = hn::MulAdd(p, r, hn::Set(d, 1.0 / 40320));
  p = hn::MulAdd(p, r, hn::Set(d, 1.0 / 5040));
  p = hn::MulAdd(p, r, hn::Set(d, 1.0 / 720));
  p = hn::MulAdd(p, r, hn::Set(d, 1.0 / 120));
  p = hn::MulAdd(p, r, hn::Set(d, 1.0 / 24));
  p = hn::MulAdd(p, r, hn::Set(d, 1.0 / 6));
  p = hn::MulAdd(p, r, hn::Set(d, 0.5));
  p = hn::Add(hn::MulAdd(hn::Mul(p, r), r, r), hn::Set(d, 1.0));
  // k + 1.5 * 2^52 has k in its low bits. n + 2048 is positive, so an unsigned shift halves it: half = floor(n / 2).
  const auto n = hn::Sub(hn::BitCast(di, shifted), hn::BitCast(di, round));
  const auto lifted = hn::BitCast(du, hn::Add(n, hn::Set(di, 2048)));
  const auto half = hn::Sub(hn::BitCast(di, hn::ShiftRight<1>(lifted)), hn::Set(di, 1024));
  const auto bias = hn::Set(di, 1023);
  p = hn::Mul(p, hn::BitCast(d, hn::ShiftLeft<52>(hn::Add(half, bias))));
  p = hn::Mul(p, hn::BitCast(d, hn::ShiftLeft<52>(hn::Add(hn::Sub(n, half), bias))));
  p = hn::IfThenElse(hn::Gt(x, hn::Set(d, 709.78)), hn::Set(d, std::numeric_limits<double>::infinity()), p);
  p = hn::IfThenZeroElse(hn::Lt(x, hn::Set(d, -708.0)), p);
  return hn::IfThenElse(hn::Eq(x, x), p, x);
}

/// The tree of order (b) over 16 floats.
HWY_INLINE float tree_sum(const FloatVector (&part)[kParts]) {
#if HWY_TARGET == HWY_AVX3
  const hn::Half<Float> d8;
  const auto eight = hn::Add(hn::LowerHalf(d8, part[0]), hn::UpperHalf(d8, part[0]));
#else
  const Float d8;
  const auto eight = hn::Add(part[0], part[1]);
#endif
  const hn::Half<decltype(d8)> d4;
  const auto four = hn::Add(hn::LowerHalf(d4, eight), hn::UpperHalf(d4, eight));
  const auto two = hn::Add(four, hn::Shuffle1032(four));
  return hn::GetLane(hn::Add(two, hn::Shuffle2301(two)));
}

/// to_bf16 of each lane, as 32-bit lanes whose upper halves are 0.
HWY_INLINE hn::Vec<hn::RebindToUnsigned<Float>> round_to_bf16(FloatVector x) {
  const hn::RebindToUnsigned<Float> du;
  const hn::RebindToSigned<Float> di;
  const auto bits = hn::BitCast(du, x);
  const auto upper = hn::ShiftRight<16>(bits);
  const auto magnitude = hn::BitCast(di, hn::And(bits, hn::Set(du, 0x7FFFFFFFu)));
  const auto odd = hn::And(upper, hn::Set(du, 1u));
  auto rounded = hn::ShiftRight<16>(hn::Add(hn::Add(bits, hn::Set(du, 0x7FFFu)), odd));
  const auto denormal = hn::RebindMask(du, hn::Lt(magnitude, hn::Set(di, 0x00800000)));
  const auto nan = hn::RebindMask(du, hn::Gt(magnitude, hn::Set(di, 0x7F800000)));
  rounded = hn::IfThenElse(denormal, hn::And(upper, hn::Set(du, 0x8000u)), rounded);
  return hn::IfThenElse(nan, hn::Or(upper, hn::Set(du, 0x40u)), rounded);
}

/// The same, stored as kLanes bfloat16.
HWY_INLINE void store_bf16(FloatVector x, void* to) {
  const hn::Rebind<std::uint16_t, Float> d16;
  const hn::RebindToSigned<Float> di;
  hn::StoreU(hn::DemoteTo(d16, hn::BitCast(di, round_to_bf16(x))), d16, static_cast<std::uint16_t*>(to));
}

}  // namespace lowbit::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // LOWBIT_VECTOR_TARGET
#endif
