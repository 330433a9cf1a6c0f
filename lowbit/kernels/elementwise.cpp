#include "lowbit/kernels/vector_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lowbit/kernels/elementwise.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#include "lowbit/base/math.h"
#include "lowbit/kernels/elementwise.h"
#include "lowbit/kernels/vector_math-inl.h"

#if LOWBIT_VECTOR_TARGET
HWY_BEFORE_NAMESPACE();
namespace lowbit::kernels::HWY_NAMESPACE {

/// R rows of k at x: inv[r] = 1 / sqrt(mean of squares + eps). Several at once, to hide the latency of the sums.
template <std::size_t R>
HWY_INLINE void inverse_rms(std::size_t k, const float* x, float eps, float* inv) {
  const Float d;
  FloatVector part[R][kParts];
#pragma GCC unroll 16
  for (std::size_t r = 0; r < R; ++r)
#pragma GCC unroll 16
    for (std::size_t i = 0; i < kParts; ++i) part[r][i] = hn::Zero(d);
  std::size_t first = 0;
  for (; first + 16 <= k; first += 16)
#pragma GCC unroll 16
    for (std::size_t r = 0; r < R; ++r)
#pragma GCC unroll 16
      for (std::size_t i = 0; i < kParts; ++i) {
        const auto v = hn::LoadU(d, x + r * k + first + i * kLanes);
        part[r][i] = hn::MulAdd(v, v, part[r][i]);
      }
  if (first < k)  // absent values are 0, and 0 added to a square sum changes no bit
#pragma GCC unroll 16
    for (std::size_t r = 0; r < R; ++r)
#pragma GCC unroll 16
      for (std::size_t i = 0; i < kParts; ++i)
        if (first + i * kLanes < k) {
          const auto v = load_first(x + r * k + first + i * kLanes, k - first - i * kLanes);
          part[r][i] = hn::MulAdd(v, v, part[r][i]);
        }
  for (std::size_t r = 0; r < R; ++r)
    inv[r] = 1.0f / math::sqrt(tree_sum(part[r]) / static_cast<float>(k) + eps);
}

void rms_norm_rows(std::size_t rows, std::size_t k, const float* x, const float* weight, float eps, float* y,
                   float* inv) {
  const Float d;
  for (std::size_t row = 0; row < rows;) {
    float scale[4];
    const std::size_t count = rows - row >= 4 ? 4 : 1;
    if (count == 4)
      inverse_rms<4>(k, x + row * k, eps, scale);
    else
      inverse_rms<1>(k, x + row * k, eps, scale);
    for (std::size_t r = 0; r < count; ++r, ++row) {
      if (inv) inv[row] = scale[r];
      const auto factor = hn::Set(d, scale[r]);
      const float* from = x + row * k;
      float* to = y + row * k;
      for (std::size_t i = 0; i < k; i += kLanes) {
        const auto value = hn::Mul(load_first(from + i, k - i), factor);
        store_first(hn::Mul(value, load_first(weight + i, k - i)), to + i, k - i);
      }
    }
  }
}

/// Pairs first .. first + lanes of d - 1 of every head.
template <class D>
HWY_INLINE void rope_lanes(D d, std::size_t heads, std::size_t half, std::size_t first, float* x, const float* cosine,
                           const float* sine, bool inverse) {
  const auto c = hn::LoadU(d, cosine + first);
  const auto s = hn::Xor(hn::LoadU(d, sine + first), inverse ? hn::SignBit(d) : hn::Zero(d));
  for (std::size_t h = 0; h < heads; ++h) {
    float* low = x + 2 * h * half + first;
    const auto a = hn::LoadU(d, low), b = hn::LoadU(d, low + half);
    hn::StoreU(hn::Sub(hn::Mul(a, c), hn::Mul(b, s)), d, low);
    hn::StoreU(hn::Add(hn::Mul(b, c), hn::Mul(a, s)), d, low + half);
  }
}

void rope_heads(std::size_t heads, std::size_t half, float* x, const float* cosine, const float* sine, bool inverse) {
  // Narrower vectors for the end of a head, not masks: a masked load that overlaps what the head before has just stored
  // waits for memory.
  std::size_t i = 0;
  for (; i + kLanes <= half; i += kLanes) rope_lanes(Float(), heads, half, i, x, cosine, sine, inverse);
#if HWY_TARGET == HWY_AVX3
  if (i + 8 <= half) rope_lanes(hn::CappedTag<float, 8>(), heads, half, i, x, cosine, sine, inverse), i += 8;
#endif
  if (i + 4 <= half) rope_lanes(hn::CappedTag<float, 4>(), heads, half, i, x, cosine, sine, inverse), i += 4;
  for (; i < half; ++i) rope_lanes(hn::CappedTag<float, 1>(), heads, half, i, x, cosine, sine, inverse);
}

void swiglu_row(std::size_t k, const float* gate, const float* up, float* y) {
  const Float d;
  const auto one = hn::Set(d, 1.0f);
  for (std::size_t i = 0; i < k; i += kLanes) {
    const auto g = load_first(gate + i, k - i);
    const auto silu = hn::Div(g, hn::Add(one, exp(hn::Neg(g))));
    store_first(hn::Mul(silu, load_first(up + i, k - i)), y + i, k - i);
  }
}

void add_values(std::size_t n, float* x, const float* y) {
  for (std::size_t i = 0; i < n; i += kLanes)
    store_first(hn::Add(load_first(x + i, n - i), load_first(y + i, n - i)), x + i, n - i);
}

}  // namespace lowbit::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // LOWBIT_VECTOR_TARGET

#if HWY_ONCE
#include <algorithm>
#include <cassert>
#include <vector>

#include "lowbit/kernels/reference.h"
#include "lowbit/kernels/row_tasks.h"
#include "lowbit/kernels/vector_math.h"
#include "lowbit/machine/isa.h"

namespace lowbit::kernels {
namespace scalar {

void rms_norm_rows(std::size_t rows, std::size_t k, const float* x, const float* weight, float eps, float* y,
                   float* inv) {
  for (std::size_t row = 0; row < rows; ++row) {
    const float value = reference::rms_norm_row<float>(std::span(x + row * k, k), std::span(weight, k), eps,
                                                       std::span(y + row * k, k));
    if (inv) inv[row] = value;
  }
}

void rope_heads(std::size_t heads, std::size_t half, float* x, const float* cosine, const float* sine, bool inverse) {
  for (std::size_t h = 0; h < heads; ++h, x += 2 * half)
    for (std::size_t i = 0; i < half; ++i) {
      const float a = x[i], b = x[i + half], s = inverse ? -sine[i] : sine[i];
      x[i] = a * cosine[i] - b * s;
      x[i + half] = b * cosine[i] + a * s;
    }
}

void swiglu_row(std::size_t k, const float* gate, const float* up, float* y) {
  for (std::size_t i = 0; i < k; ++i) y[i] = reference::swiglu(gate[i], up[i]);
}

void add_values(std::size_t n, float* x, const float* y) {
  for (std::size_t i = 0; i < n; ++i) x[i] += y[i];
}

}  // namespace scalar

void rms_norm(Executor& executor, std::size_t rows, std::size_t k, const float* x, const float* weight, float eps,
              float* y, float* inv) {
  const auto run = LOWBIT_PICK(rms_norm_rows);
  for_rows(executor, rows, k, [&](std::size_t begin, std::size_t end) {
    run(end - begin, k, x + begin * k, weight, eps, y + begin * k, inv ? inv + begin : nullptr);
  });
}

RopeTable make_rope_table(std::size_t head_dim, std::size_t positions, double theta) {
  assert(head_dim % 2 == 0);
  const std::size_t half = head_dim / 2;
  RopeTable table{head_dim, positions, Buffer<float>(positions * half), Buffer<float>(positions * half)};
  // As reference::rope_cos_sin: the frequency of a pair does not depend on the position.
  std::vector<double> frequency(half), angle(half), cosine(half), sine(half);
  for (std::size_t i = 0; i < half; ++i)
    frequency[i] = math::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(head_dim));
  for (std::size_t position = 0; position < positions; ++position) {
    for (std::size_t i = 0; i < half; ++i)
      angle[i] = static_cast<double>(static_cast<std::int64_t>(position)) * frequency[i];
    cos_sin_values(half, angle.data(), cosine.data(), sine.data());
    for (std::size_t i = 0; i < half; ++i) {
      table.cos[position * half + i] = static_cast<float>(cosine[i]);
      table.sin[position * half + i] = static_cast<float>(sine[i]);
    }
  }
  return table;
}

void rope(Executor& executor, const RopeTable& table, std::size_t rows, std::size_t heads, float* x, std::size_t stride,
          const std::int32_t* position_of, bool inverse) {
  const std::size_t half = table.head_dim / 2;
  const auto run = LOWBIT_PICK(rope_heads);
  for_rows(executor, rows, heads * table.head_dim, [&](std::size_t begin, std::size_t end) {
    for (std::size_t row = begin; row < end; ++row) {
      const auto position = static_cast<std::size_t>(position_of[row]);
      assert(position < table.positions);
      run(heads, half, x + row * stride, table.cos.data() + position * half, table.sin.data() + position * half,
          inverse);
    }
  });
}

void swiglu(Executor& executor, std::size_t rows, std::size_t k, const float* gate, const float* up,
            std::size_t gate_stride, float* y) {
  const auto run = LOWBIT_PICK(swiglu_row);
  for_rows(executor, rows, k, [&](std::size_t begin, std::size_t end) {
    for (std::size_t row = begin; row < end; ++row)
      run(k, gate + row * gate_stride, up + row * gate_stride, y + row * k);
  });
}

void add_in_place(Executor& executor, std::size_t n, float* x, const float* y) {
  const auto run = LOWBIT_PICK(add_values);
  constexpr std::size_t kChunk = 16384;
  executor.parallel_for((n + kChunk - 1) / kChunk, [&](std::size_t index) {
    const std::size_t first = index * kChunk;
    run(std::min(kChunk, n - first), x + first, y + first);
  });
}

}  // namespace lowbit::kernels
#endif  // HWY_ONCE
