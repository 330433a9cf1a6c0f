#include "lowbit/kernels/vector_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lowbit/kernels/float_product_panels.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#include <cstring>

#include "lowbit/formats/bf16.h"
#include "lowbit/kernels/float_product.h"
#include "lowbit/kernels/panel_rows.h"
#include "lowbit/kernels/vector_math-inl.h"

#if LOWBIT_VECTOR_TARGET
HWY_BEFORE_NAMESPACE();
namespace lowbit::kernels::HWY_NAMESPACE {

void round_row(std::size_t k, const float* x, bf16* y) {
  const Float d;
  std::size_t i = 0;
  for (; i + kLanes <= k; i += kLanes) store_bf16(hn::LoadU(d, x + i), y + i);
  for (; i < k; ++i) y[i] = to_bf16(x[i]);
}

void interleave_16(std::size_t words, const float* from, std::size_t pitch, float* to) {
  const hn::CappedTag<float, 4> d;
  const hn::Repartition<double, decltype(d)> dd;
  std::size_t j = 0;
  for (; j + 4 <= words; j += 4)
#pragma GCC unroll 4
    for (std::size_t r = 0; r < 16; r += 4) {
      const float* row = from + r * pitch + j;
      const auto a = hn::LoadU(d, row), b = hn::LoadU(d, row + pitch);
      const auto c = hn::LoadU(d, row + 2 * pitch), e = hn::LoadU(d, row + 3 * pitch);
      const auto ab = hn::BitCast(dd, hn::InterleaveLower(d, a, b)), ce = hn::BitCast(dd, hn::InterleaveLower(d, c, e));
      const auto ab2 = hn::BitCast(dd, hn::InterleaveUpper(d, a, b)),
                 ce2 = hn::BitCast(dd, hn::InterleaveUpper(d, c, e));
      hn::StoreU(hn::BitCast(d, hn::InterleaveLower(dd, ab, ce)), d, to + j * 16 + r);
      hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(dd, ab, ce)), d, to + (j + 1) * 16 + r);
      hn::StoreU(hn::BitCast(d, hn::InterleaveLower(dd, ab2, ce2)), d, to + (j + 2) * 16 + r);
      hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(dd, ab2, ce2)), d, to + (j + 3) * 16 + r);
    }
  for (; j < words; ++j)
    for (std::size_t r = 0; r < 16; ++r) std::memcpy(to + j * 16 + r, from + r * pitch + j, 4);
}

}  // namespace lowbit::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // LOWBIT_VECTOR_TARGET

#if HWY_ONCE
#include <algorithm>
#include <array>

#include "lowbit/kernels/row_tasks.h"
#include "lowbit/machine/isa.h"

namespace lowbit::kernels {
namespace scalar {

void round_row(std::size_t k, const float* x, bf16* y) {
  for (std::size_t i = 0; i < k; ++i) y[i] = to_bf16(x[i]);
}

void interleave_16(std::size_t words, const float* from, std::size_t pitch, float* to) {
  for (std::size_t j = 0; j < words; ++j)
    for (std::size_t r = 0; r < 16; ++r) std::memcpy(to + j * 16 + r, from + r * pitch + j, 4);
}

}  // namespace scalar

void round_row(std::size_t k, const float* x, bf16* y) { LOWBIT_PICK(round_row)(k, x, y); }
void interleave_16(std::size_t words, const float* from, std::size_t pitch, float* to) {
  LOWBIT_PICK(interleave_16)(words, from, pitch, to);
}

namespace {

// Rows are copied to the stack by stripes before their values are interleaved: 16 rows a power of two apart would fight
// for the same few lines of the first cache.
constexpr std::size_t kStripe = 256, kStripePitch = kStripe + 16;

}  // namespace

void make_panels(Executor& executor, std::size_t n, std::size_t k, const float* weights, FloatPanels& panels) {
  panels.n = n;
  panels.k = k;
  const std::size_t count = (n + 15) / 16;
  panels.data.resize(count * k * 16, Pages::shared);
  panels.scale.resize(0);
  executor.parallel_for(count, [&](std::size_t panel) {
    float* out = panels.data.data() + panel * k * 16;
    const std::size_t rows = std::min<std::size_t>(16, n - panel * 16);
    alignas(64) float stripe[16][kStripePitch] = {};
    for (std::size_t first = 0; first < k; first += kStripe) {
      const std::size_t width = std::min(kStripe, k - first);
      for (std::size_t r = 0; r < rows; ++r)
        std::copy_n(weights + (panel * 16 + r) * k + first, width, stripe[r]);
      interleave_16(width, stripe[0], kStripePitch, out + first * 16);
    }
  });
}

void make_panels(Executor& executor, const Grid& grid, std::size_t n, std::size_t k, const CodedRows& weights,
                 FloatPanels& panels, std::size_t apart) {
  panels.n = n;
  panels.k = k;
  const std::size_t count = (n + 15) / 16, stride = apart * code_stride(k);
  panels.data.resize(count * k * 16, Pages::shared);
  panels.scale.resize(count * 16);
  std::array<float, 256> value{};
  for (int u = 0; u < grid.levels; ++u) value[static_cast<std::size_t>(u)] = static_cast<float>(grid.value(u));
  executor.parallel_for(count, [&](std::size_t panel) {
    float* out = panels.data.data() + panel * k * 16;
    const std::size_t rows = std::min<std::size_t>(16, n - panel * 16);
    const std::uint8_t* codes = weights.codes + panel * 16 * stride;
    for (std::size_t i = 0; i < k; ++i)
      for (std::size_t r = 0; r < 16; ++r) out[i * 16 + r] = r < rows ? value[codes[r * stride + i]] : 0.0f;
    for (std::size_t r = 0; r < 16; ++r)
      panels.scale[panel * 16 + r] = r < rows ? weights.scale[(panel * 16 + r) * apart] : 0.0f;
  });
}

void make_panels(Executor& executor, std::size_t n, std::size_t k, const float* weights, Bf16Panels& panels) {
  constexpr std::size_t kWide = 2 * kStripe;
  panels.n = n;
  panels.k = k;
  const std::size_t count = (n + 15) / 16, steps = (k + 1) / 2;
  panels.data.resize(count * steps * 32, Pages::shared);
  executor.parallel_for(count, [&](std::size_t panel) {
    bf16* out = panels.data.data() + panel * steps * 32;
    const std::size_t rows = std::min<std::size_t>(16, n - panel * 16);
    alignas(64) bf16 stripe[16][2 * kStripePitch] = {};
    for (std::size_t first = 0; first < k; first += kWide) {
      const std::size_t width = std::min(kWide, k - first);
      for (std::size_t r = 0; r < rows; ++r) {
        round_row(width, weights + (panel * 16 + r) * k + first, stripe[r]);
        if (width % 2) stripe[r][width] = bf16{};  // width < kWide, which is even
      }
      interleave_16((width + 1) / 2, reinterpret_cast<const float*>(stripe[0]), kStripePitch,
                    reinterpret_cast<float*>(out + first * 16));
    }
  });
}

void make_panels(Executor& executor, std::size_t n, std::size_t k, const bf16* weights, Bf16Panels& panels) {
  panels.n = n;
  panels.k = k;
  const std::size_t count = (n + 15) / 16, steps = (k + 1) / 2;
  panels.data.resize(count * steps * 32, Pages::shared);
  executor.parallel_for(count, [&](std::size_t panel) {
    bf16* out = panels.data.data() + panel * steps * 32;
    const std::size_t rows = std::min<std::size_t>(16, n - panel * 16);
    const bf16* w = weights + panel * 16 * k;
    for (std::size_t i = 0; i < steps; ++i)
      for (std::size_t r = 0; r < 16; ++r) {
        out[i * 32 + 2 * r] = r < rows ? w[r * k + 2 * i] : bf16{};
        out[i * 32 + 2 * r + 1] = r < rows && 2 * i + 1 < k ? w[r * k + 2 * i + 1] : bf16{};
      }
  });
}

void round_rows(Executor& executor, std::size_t rows, std::size_t k, const float* x, std::size_t x_stride, bf16* y) {
  const std::size_t stride = bf16_stride(k);
  for_rows(executor, rows, k, [&](std::size_t begin, std::size_t end) {
    for (std::size_t row = begin; row < end; ++row) {
      round_row(k, x + row * x_stride, y + row * stride);
      std::fill(y + row * stride + k, y + (row + 1) * stride, bf16{});
    }
  });
}

}  // namespace lowbit::kernels
#endif  // HWY_ONCE
