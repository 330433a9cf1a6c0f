#pragma once
#include <bit>
#include <cmath>  // fma, sqrt and floor only: they are exact
#include <cstdint>
#include <limits>

// exp, log, sin, cos, pow of our own, so that no bit depends on the machine's C library (docs/reference/arithmetic.md).
// The functions on double are for angles, losses, sampling and initial weights; exp on float decides logits, and
// kernels/vector_math-inl.h repeats its operations one for one in vector form.
namespace lowbit::math {

inline double fma(double a, double b, double c) { return __builtin_fma(a, b, c); }
inline float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }

namespace detail {
inline constexpr double kLog2e = 0x1.71547652b82fep+0;
inline constexpr double kLn2High = 0x1.62e42fefa3800p-1;  // 42 bits: k * kLn2High is exact for |k| < 2048
inline constexpr double kLn2Low = 0x1.ef35793c76730p-45;
inline constexpr double kRound = 0x1.8p52;  // x + kRound - kRound is x rounded to the nearest integer, ties to even
inline constexpr float kRoundFloat = 0x1.8p23f;

inline double scale_by_power_of_two(double x, std::int64_t k) {
  return x * std::bit_cast<double>(static_cast<std::uint64_t>(k + 1023) << 52);
}
}  // namespace detail

/// e^x, error below 1 ulp. exp(0) == 1. Below -708 it is 0, above 709.78 infinity; NaN stays NaN.
inline double exp(double x) {
  using namespace detail;
  if (!(x >= -708.0)) return x < -708.0 ? 0.0 : x;
  if (x > 709.78) return std::numeric_limits<double>::infinity();
  const double k = fma(x, kLog2e, kRound) - kRound;
  double r = fma(-k, kLn2High, x);
  r = fma(-k, kLn2Low, r);
  // Taylor series to degree 13: |r| <= ln(2)/2, the rest is below 2^-57.
  double p = 1.0 / 6227020800;
  p = fma(p, r, 1.0 / 479001600);
  p = fma(p, r, 1.0 / 39916800);
  p = fma(p, r, 1.0 / 3628800);
  p = fma(p, r, 1.0 / 362880);
  p = fma(p, r, 1.0 / 40320);
  p = fma(p, r, 1.0 / 5040);
  p = fma(p, r, 1.0 / 720);
  p = fma(p, r, 1.0 / 120);
  p = fma(p, r, 1.0 / 24);
  p = fma(p, r, 1.0 / 6);
  p = fma(p, r, 0.5);
  p = fma(p * r, r, r) + 1.0;
  const auto n = static_cast<std::int64_t>(k);
  return n > 1023 ? scale_by_power_of_two(p, n - 1) * 2 : scale_by_power_of_two(p, n);
}

/// e^x in float, error below 2 ulp. exp(0) == 1. Below -87.336 it is 0 (the result would be denormal), above 88.72
/// infinity; NaN stays NaN. The vector forms give the same bits.
inline float exp(float x) {
  using namespace detail;
  if (!(x >= -87.336f)) return x < -87.336f ? 0.0f : x;
  if (x > 88.72f) return std::numeric_limits<float>::infinity();
  const float k = fma(x, 0x1.715476p+0f, kRoundFloat) - kRoundFloat;
  float r = fma(-k, 0x1.62e400p-1f, x);  // 15 bits: k times it is exact
  r = fma(-k, 0x1.7f7d1cp-20f, r);
  float p = 0x1.a01a02p-13f;  // Taylor to degree 7: |r| <= ln(2)/2, the rest is below 2^-27
  p = fma(p, r, 0x1.6c16c2p-10f);
  p = fma(p, r, 0x1.111112p-7f);
  p = fma(p, r, 0x1.555556p-5f);
  p = fma(p, r, 0x1.555556p-3f);
  p = fma(p, r, 0.5f);
  p = fma(p * r, r, r) + 1.0f;
  const auto n = static_cast<std::int32_t>(k);
  // In two steps, so that n = 128 does not overflow before the product does.
  const std::int32_t half = n >> 1;
  return p * std::bit_cast<float>((half + 127) << 23) * std::bit_cast<float>((n - half + 127) << 23);
}

/// Natural logarithm, error below 2 ulp. log(0) is -infinity, of a negative number NaN. x is not denormal.
inline double log(double x) {
  using namespace detail;
  if (!(x > 0)) return x == 0 ? -std::numeric_limits<double>::infinity() : std::numeric_limits<double>::quiet_NaN();
  if (x == std::numeric_limits<double>::infinity()) return x;
  const auto bits = std::bit_cast<std::uint64_t>(x);
  auto k = static_cast<std::int64_t>(bits >> 52) - 1023;
  double m = std::bit_cast<double>((bits & 0xFFFFFFFFFFFFFull) | 0x3FF0000000000000ull);
  if (m > 1.4142135623730951) {
    m *= 0.5;
    ++k;
  }
  // log(m) = 2 atanh(s), s = (m-1)/(m+1), |s| < 0.1716; the series to s^23 leaves less than 2^-60.
  const double f = m - 1;
  const double s = f / (m + 1);
  const double z = s * s;
  double p = 2.0 / 23;
  p = fma(p, z, 2.0 / 21);
  p = fma(p, z, 2.0 / 19);
  p = fma(p, z, 2.0 / 17);
  p = fma(p, z, 2.0 / 15);
  p = fma(p, z, 2.0 / 13);
  p = fma(p, z, 2.0 / 11);
  p = fma(p, z, 2.0 / 9);
  p = fma(p, z, 2.0 / 7);
  p = fma(p, z, 2.0 / 5);
  p = fma(p, z, 2.0 / 3);
  // 2s = f - s f, exactly as far as it goes: keeps the error of the division out of the leading term.
  const double head = f - s * (f - p * z);
  const auto dk = static_cast<double>(k);
  return fma(dk, kLn2High, fma(dk, kLn2Low, head));
}

/// x^y for x > 0, as exp(y log x): relative error about |y log x| * 2^-52.
inline double pow(double x, double y) { return exp(y * log(x)); }

namespace detail {
struct Reduced {
  double high, low;  // x - quadrant * pi/2 as a sum of two doubles
  int quadrant;
};
// pi/2 in three parts of 33 bits (products with |k| < 2^20 are exact): good for |x| up to 1.6 million.
inline Reduced reduce_angle(double x) {
  const double k = fma(x, 0x1.45f306dc9c883p-1, kRound) - kRound;
  const double a = fma(-k, 0x1.921fb54400000p+0, x);
  const double b = k * 0x1.0b4611a600000p-34;
  const double high = a - b;
  const double low = (a - high) - b - k * 0x1.3198a2e037073p-69;
  return {high, low, static_cast<int>(static_cast<std::int64_t>(k) & 3)};
}
inline double sin_poly(double x, double low) {
  const double z = x * x;
  double p = -1.0 / 1307674368000;
  p = fma(p, z, 1.0 / 6227020800);
  p = fma(p, z, -1.0 / 39916800);
  p = fma(p, z, 1.0 / 362880);
  p = fma(p, z, -1.0 / 5040);
  p = fma(p, z, 1.0 / 120);
  p = fma(p, z, -1.0 / 6);
  return x + (fma(p * z, x, low));
}
inline double cos_poly(double x, double low) {
  const double z = x * x;
  double p = 1.0 / 20922789888000;
  p = fma(p, z, -1.0 / 87178291200);
  p = fma(p, z, 1.0 / 479001600);
  p = fma(p, z, -1.0 / 3628800);
  p = fma(p, z, 1.0 / 40320);
  p = fma(p, z, -1.0 / 720);
  p = fma(p, z, 1.0 / 24);
  const double half = 0.5 * z;
  const double w = 1.0 - half;
  return w + ((1.0 - w - half) + fma(p * z, z, -x * low));
}
}  // namespace detail

/// Sine and cosine, absolute error below 2^-52 for |x| up to 1.6 million (a position times a frequency).
inline double sin(double x) {
  const auto r = detail::reduce_angle(x);
  const double v = r.quadrant & 1 ? detail::cos_poly(r.high, r.low) : detail::sin_poly(r.high, r.low);
  return r.quadrant & 2 ? -v : v;
}
inline double cos(double x) {
  const auto r = detail::reduce_angle(x);
  const double v = r.quadrant & 1 ? detail::sin_poly(r.high, r.low) : detail::cos_poly(r.high, r.low);
  return r.quadrant == 1 || r.quadrant == 2 ? -v : v;
}

inline float sqrt(float x) { return __builtin_sqrtf(x); }
inline double sqrt(double x) { return __builtin_sqrt(x); }
inline float floor(float x) { return __builtin_floorf(x); }
inline double floor(double x) { return __builtin_floor(x); }

}  // namespace lowbit::math
