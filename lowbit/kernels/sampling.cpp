#include "lowbit/kernels/vector_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lowbit/kernels/sampling.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#include <limits>

#include "lowbit/base/math.h"
#include "lowbit/kernels/sampling.h"
#include "lowbit/kernels/vector_math-inl.h"

#if LOWBIT_VECTOR_TARGET
HWY_BEFORE_NAMESPACE();
namespace lowbit::kernels::HWY_NAMESPACE {

/// Lanes that stand for elements, of n that are left.
HWY_INLINE hn::Mask<Float> some(std::size_t n) { return hn::FirstN(Float(), n < kLanes ? n : kLanes); }

float largest(std::size_t n, const float* x) {
  const Float d;
  const auto lowest = hn::Set(d, -std::numeric_limits<float>::infinity());
  FloatVector most[4] = {lowest, lowest, lowest, lowest};
  auto nan = hn::Lt(lowest, lowest);
  std::size_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes)
#pragma GCC unroll 4
    for (std::size_t v = 0; v < 4; ++v) {
      const auto value = hn::LoadU(d, x + i + v * kLanes);
      nan = hn::Or(nan, hn::IsNaN(value));
      most[v] = hn::Max(most[v], value);
    }
  for (; i < n; i += kLanes) {
    const auto value = hn::IfThenElse(some(n - i), load_first(x + i, n - i), lowest);
    nan = hn::Or(nan, hn::IsNaN(value));
    most[0] = hn::Max(most[0], value);
  }
  if (!hn::AllFalse(d, nan)) return std::numeric_limits<float>::quiet_NaN();
  return hn::GetLane(hn::MaxOfLanes(d, hn::Max(hn::Max(most[0], most[1]), hn::Max(most[2], most[3]))));
}

std::size_t first_equal(std::size_t n, const float* x, float value) {
  const Float d;
  const auto wanted = hn::Set(d, value);
  for (std::size_t i = 0; i < n; i += kLanes) {
    const auto found = hn::And(hn::Eq(load_first(x + i, n - i), wanted), some(n - i));
    if (!hn::AllFalse(d, found)) return i + hn::FindKnownFirstTrue(d, found);
  }
  return n;
}

/// 16 partial sums in double, and their tree.
struct Partials {
  static constexpr std::size_t kCount = 16 / kDoubleLanes;
  DoubleVector sum[kCount];
  HWY_INLINE void clear() {
#pragma GCC unroll 8
    for (std::size_t i = 0; i < kCount; ++i) sum[i] = hn::Zero(Double());
  }
  /// Part `part` of 16 neighbours.
  HWY_INLINE void add(std::size_t part, FloatVector w) {
    const Double d;
    const hn::Rebind<float, Double> half;
    constexpr std::size_t kEach = kLanes / kDoubleLanes;
    sum[part * kEach] = hn::Add(sum[part * kEach], hn::PromoteTo(d, hn::LowerHalf(half, w)));
    sum[part * kEach + 1] = hn::Add(sum[part * kEach + 1], hn::PromoteTo(d, hn::UpperHalf(half, w)));
  }
  HWY_INLINE double tree() const {
    alignas(64) double p[16];
    for (std::size_t i = 0; i < kCount; ++i) hn::Store(sum[i], Double(), p + i * kDoubleLanes);
    for (std::size_t width = 8; width > 0; width /= 2)
      for (std::size_t i = 0; i < width; ++i) p[i] += p[i + width];
    return p[0];
  }
};

/// math::exp of what is neither positive nor NaN, with its bits: 2^n is one exact product there.
HWY_INLINE FloatVector exp_below_one(FloatVector x) {
  const Float d;
  const hn::RebindToSigned<Float> di;
  const ReducedExp reduced = reduced_exp(x);
  // The low bits of `shifted` are those of k; what is shifted out is the rest. 127 << 23 is the bits of 1.
  const auto power = hn::Add(hn::ShiftLeft<23>(hn::BitCast(di, reduced.shifted)), hn::Set(di, 127 << 23));
  return hn::IfThenZeroElse(hn::Lt(x, hn::Set(d, -87.336f)), hn::Mul(reduced.power, hn::BitCast(d, power)));
}

void exp_weights(std::size_t n, const float* x, float top, float slope, float least, float* w, double* sums) {
  const Float d;
  const auto most = hn::Set(d, top), factor = hn::Set(d, slope), bound = hn::Set(d, least);
  for (std::size_t block = 0; block * kWeightBlock < n; ++block) {
    const std::size_t end = n - block * kWeightBlock < kWeightBlock ? n : (block + 1) * kWeightBlock;
    Partials partials;
    partials.clear();
    for (std::size_t i = block * kWeightBlock; i < end; i += 16)
#pragma GCC unroll 2
      for (std::size_t part = 0; part < kParts; ++part) {
        const std::size_t at = i + part * kLanes;
        if (at >= end) break;
        auto weight = exp_below_one(hn::Mul(hn::Sub(load_first(x + at, end - at), most), factor));
        weight = hn::IfThenElseZero(hn::And(hn::Ge(weight, bound), some(end - at)), weight);
        store_first(weight, w + at, end - at);
        partials.add(part, weight);
      }
    sums[block] = partials.tree();
  }
}

void sums_before(std::size_t n, const float* x, const float* w, Rank rank, double* sums) {
  const Float d;
  const auto value = hn::Set(d, rank.value);
  for (std::size_t block = 0; block * kWeightBlock < n; ++block) {
    const std::size_t end = n - block * kWeightBlock < kWeightBlock ? n : (block + 1) * kWeightBlock;
    Partials partials;
    partials.clear();
    for (std::size_t i = block * kWeightBlock; i < end; i += 16)
#pragma GCC unroll 2
      for (std::size_t part = 0; part < kParts; ++part) {
        const std::size_t at = i + part * kLanes;
        if (at >= end) break;
        const auto z = load_first(x + at, end - at);
        const auto equal = hn::And(hn::Eq(z, value), some(rank.index > at ? rank.index - at : 0));
        const auto before = hn::Or(hn::Gt(z, value), equal);
        partials.add(part, hn::IfThenElseZero(before, load_first(w + at, end - at)));
      }
    sums[block] = partials.tree();
  }
}

std::size_t gather_between(std::size_t n, const float* x, float low, float high, float* out, std::size_t& above) {
  const Float d;
  const auto from = hn::Set(d, low), to = hn::Set(d, high);
  std::size_t count = 0, larger = 0;
  for (std::size_t i = 0; i < n; i += kLanes) {
    const auto value = load_first(x + i, n - i);
    const auto valid = some(n - i);
    const auto over = hn::And(hn::Gt(value, to), valid);
    larger += hn::CountTrue(d, over);
    const auto wanted = hn::AndNot(over, hn::And(hn::Ge(value, from), valid));
    if (!hn::AllFalse(d, wanted)) count += hn::CompressStore(value, wanted, d, out + count);
  }
  above = larger;
  return count;
}

std::size_t gather_from(std::size_t n, const float* x, float low, float* out, std::int32_t* index) {
  const Float d;
  const hn::RebindToSigned<Float> di;
  const auto from = hn::Set(d, low);
  std::size_t count = 0;
  for (std::size_t i = 0; i < n; i += kLanes) {
    const auto value = load_first(x + i, n - i);
    const auto wanted = hn::And(hn::Ge(value, from), some(n - i));
    if (hn::AllFalse(d, wanted)) continue;
    hn::CompressStore(hn::Iota(di, static_cast<std::int32_t>(i)), hn::RebindMask(di, wanted), di, index + count);
    count += hn::CompressStore(value, wanted, d, out + count);
  }
  return count;
}

}  // namespace lowbit::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // LOWBIT_VECTOR_TARGET

#if HWY_ONCE
#include "lowbit/machine/isa.h"

namespace lowbit::kernels {
namespace scalar {

float largest(std::size_t n, const float* x) {
  float most = x[0];
  for (std::size_t i = 0; i < n; ++i) {
    if (x[i] != x[i]) return std::numeric_limits<float>::quiet_NaN();
    if (x[i] > most) most = x[i];
  }
  return most;
}

std::size_t first_equal(std::size_t n, const float* x, float value) {
  std::size_t i = 0;
  while (i < n && x[i] != value) ++i;
  return i;
}

template <class Weight>
void sum_blocks(std::size_t n, Weight weight, double* sums) {
  for (std::size_t block = 0; block * kWeightBlock < n; ++block) {
    double p[16] = {};
    for (std::size_t i = block * kWeightBlock; i < n && i < (block + 1) * kWeightBlock; ++i)
      p[i % 16] += static_cast<double>(weight(i));
    for (std::size_t width = 8; width > 0; width /= 2)
      for (std::size_t i = 0; i < width; ++i) p[i] += p[i + width];
    sums[block] = p[0];
  }
}

void exp_weights(std::size_t n, const float* x, float top, float slope, float least, float* w, double* sums) {
  for (std::size_t i = 0; i < n; ++i) {
    const float weight = math::exp((x[i] - top) * slope);
    w[i] = weight >= least ? weight : 0.0f;
  }
  sum_blocks(n, [&](std::size_t i) { return w[i]; }, sums);
}

void sums_before(std::size_t n, const float* x, const float* w, Rank rank, double* sums) {
  sum_blocks(
      n, [&](std::size_t i) { return x[i] > rank.value || (x[i] == rank.value && i < rank.index) ? w[i] : 0.0f; },
      sums);
}

std::size_t gather_between(std::size_t n, const float* x, float low, float high, float* out, std::size_t& above) {
  std::size_t count = 0;
  above = 0;
  for (std::size_t i = 0; i < n; ++i) {
    if (x[i] > high)
      ++above;
    else if (x[i] >= low)
      out[count++] = x[i];
  }
  return count;
}

std::size_t gather_from(std::size_t n, const float* x, float low, float* out, std::int32_t* index) {
  std::size_t count = 0;
  for (std::size_t i = 0; i < n; ++i)
    if (x[i] >= low) {
      index[count] = static_cast<std::int32_t>(i);
      out[count++] = x[i];
    }
  return count;
}

}  // namespace scalar

float largest(std::size_t n, const float* x) { return LOWBIT_PICK(largest)(n, x); }
std::size_t first_equal(std::size_t n, const float* x, float value) { return LOWBIT_PICK(first_equal)(n, x, value); }
void exp_weights(std::size_t n, const float* x, float top, float slope, float least, float* w, double* sums) {
  LOWBIT_PICK(exp_weights)(n, x, top, slope, least, w, sums);
}
void sums_before(std::size_t n, const float* x, const float* w, Rank rank, double* sums) {
  LOWBIT_PICK(sums_before)(n, x, w, rank, sums);
}
std::size_t gather_between(std::size_t n, const float* x, float low, float high, float* out, std::size_t& above) {
  return LOWBIT_PICK(gather_between)(n, x, low, high, out, above);
}
std::size_t gather_from(std::size_t n, const float* x, float low, float* out, std::int32_t* index) {
  return LOWBIT_PICK(gather_from)(n, x, low, out, index);
}

}  // namespace lowbit::kernels
#endif  // HWY_ONCE
