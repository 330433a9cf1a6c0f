#include "lowbit/kernels/vector_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lowbit/kernels/float_product_panels.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#include "lowbit/formats/bf16.h"
#include "lowbit/kernels/float_product.h"
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

}  // namespace lowbit::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // LOWBIT_VECTOR_TARGET

#if HWY_ONCE
#include <algorithm>
#include <array>
#include <cstring>

#include "lowbit/machine/isa.h"

namespace lowbit::kernels {
namespace scalar {

void round_row(std::size_t k, const float* x, bf16* y) {
  for (std::size_t i = 0; i < k; ++i) y[i] = to_bf16(x[i]);
}

}  // namespace scalar

namespace {

constexpr std::size_t kStripe = 512;  // values of a row handled at once: 16 such rows stay in the first cache

}  // namespace

void make_panels(Executor& executor, std::size_t n, std::size_t k, const float* weights, FloatPanels& panels) {
  panels.n = n;
  panels.k = k;
  const std::size_t count = (n + 15) / 16;
  panels.data.resize(count * k * 16);
  panels.scale.resize(0);
  executor.parallel_for(count, [&](std::size_t panel) {
    float* out = panels.data.data() + panel * k * 16;
    const std::size_t rows = std::min<std::size_t>(16, n - panel * 16);
    const float* w = weights + panel * 16 * k;
    if (rows == 16) {
      for (std::size_t i = 0; i < k; ++i)
        for (std::size_t r = 0; r < 16; ++r) out[i * 16 + r] = w[r * k + i];
    } else {
      for (std::size_t i = 0; i < k; ++i)
        for (std::size_t r = 0; r < 16; ++r) out[i * 16 + r] = r < rows ? w[r * k + i] : 0.0f;
    }
  });
}

void make_panels(Executor& executor, const Grid& grid, std::size_t n, std::size_t k, const CodedRows& weights,
                 FloatPanels& panels) {
  panels.n = n;
  panels.k = k;
  const std::size_t count = (n + 15) / 16, stride = code_stride(k);
  panels.data.resize(count * k * 16);
  panels.scale.resize(count * 16);
  std::array<float, 256> value{};
  for (int u = 0; u < grid.levels; ++u) value[static_cast<std::size_t>(u)] = static_cast<float>(grid.value_of_code(u));
  executor.parallel_for(count, [&](std::size_t panel) {
    float* out = panels.data.data() + panel * k * 16;
    const std::size_t rows = std::min<std::size_t>(16, n - panel * 16);
    const std::uint8_t* codes = weights.codes + panel * 16 * stride;
    for (std::size_t i = 0; i < k; ++i)
      for (std::size_t r = 0; r < 16; ++r) out[i * 16 + r] = r < rows ? value[codes[r * stride + i]] : 0.0f;
    for (std::size_t r = 0; r < 16; ++r)
      panels.scale[panel * 16 + r] = r < rows ? weights.scale[panel * 16 + r] : 0.0f;
  });
}

void make_panels(Executor& executor, std::size_t n, std::size_t k, const float* weights, Bf16Panels& panels) {
  panels.n = n;
  panels.k = k;
  const std::size_t count = (n + 15) / 16, steps = (k + 1) / 2;
  panels.data.resize(count * steps * 32);
  const auto round_row = LOWBIT_PICK(round_row);
  executor.parallel_for(count, [&](std::size_t panel) {
    bf16* out = panels.data.data() + panel * steps * 32;
    const std::size_t rows = std::min<std::size_t>(16, n - panel * 16);
    alignas(64) std::array<std::array<bf16, kStripe>, 16> stripe{};
    for (std::size_t first = 0; first < k; first += kStripe) {
      const std::size_t width = std::min(kStripe, k - first);
      for (std::size_t r = 0; r < rows; ++r) {
        round_row(width, weights + (panel * 16 + r) * k + first, stripe[r].data());
        if (width % 2) stripe[r][width] = bf16{};  // width < kStripe, which is even
      }
      for (std::size_t i = 0; i < width; i += 2)
        for (std::size_t r = 0; r < 16; ++r) std::memcpy(out + (first + i) * 16 + 2 * r, &stripe[r][i], 4);
    }
  });
}

void make_panels(Executor& executor, std::size_t n, std::size_t k, const bf16* weights, Bf16Panels& panels) {
  panels.n = n;
  panels.k = k;
  const std::size_t count = (n + 15) / 16, steps = (k + 1) / 2;
  panels.data.resize(count * steps * 32);
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
  const auto round_row = LOWBIT_PICK(round_row);
  const std::size_t chunk = std::max<std::size_t>(1, 16384 / std::max<std::size_t>(1, k));
  executor.parallel_for((rows + chunk - 1) / chunk, [&](std::size_t index) {
    for (std::size_t row = index * chunk; row < std::min(rows, (index + 1) * chunk); ++row) {
      round_row(k, x + row * x_stride, y + row * stride);
      std::fill(y + row * stride + k, y + (row + 1) * stride, bf16{});
    }
  });
}

}  // namespace lowbit::kernels
#endif  // HWY_ONCE
