#include "lowbit/kernels/vector_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lowbit/kernels/float_product.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#include "lowbit/kernels/float_product.h"
#include "lowbit/kernels/float_product_task.h"
#include "lowbit/kernels/float_tile-inl.h"

#if LOWBIT_VECTOR_TARGET
HWY_BEFORE_NAMESPACE();
namespace lowbit::kernels::HWY_NAMESPACE {

// Steps of the contracted index between two visits of the sums to memory, so that the operands of a pass stay in L2
// however long the rows are. The sums come back exactly as they were.
constexpr std::size_t kStepBlock = 1024;

struct ProductTile {
  const float* x[8];
  const float* w;
  std::size_t panel_stride, steps;
  const float* scale;   // null: none, or not yet the last block
  bool carry;           // y holds the sums so far
  float* y;
  std::size_t y_stride;
  std::size_t outputs;  // how many columns of y there are, at most 16 P
};

template <class Words, std::size_t R, std::size_t P>
HWY_NOINLINE void product_tile(const ProductTile& t) {
  const Float d;
  FloatVector sums[R][P * kParts];
  const bool whole = t.outputs >= 16 * P;
#pragma GCC unroll 16
  for (std::size_t r = 0; r < R; ++r)
#pragma GCC unroll 16
    for (std::size_t i = 0; i < P * kParts; ++i) sums[r][i] = hn::Zero(d);
  if (t.carry) {
    for (std::size_t r = 0; r < R; ++r)
      for (std::size_t i = 0; i < P * kParts; ++i) {
        const float* y = t.y + r * t.y_stride + i * kLanes;
        if (whole)
          sums[r][i] = hn::LoadU(d, y);
        else if (i * kLanes < t.outputs)
          sums[r][i] = load_first(y, t.outputs - i * kLanes);
      }
  }
  accumulate<Words, R, P>(sums, t.x, t.w, t.panel_stride, 16, t.steps);
#pragma GCC unroll 16
  for (std::size_t i = 0; i < P * kParts; ++i) {
    const auto scale = t.scale ? hn::LoadU(d, t.scale + i * kLanes) : hn::Set(d, 1.0f);
#pragma GCC unroll 16
    for (std::size_t r = 0; r < R; ++r) {
      float* y = t.y + r * t.y_stride + i * kLanes;
      const auto sum = t.scale ? hn::Mul(sums[r][i], scale) : sums[r][i];
      if (whole)
        hn::StoreU(sum, d, y);
      else if (i * kLanes < t.outputs)
        store_first(sum, y, t.outputs - i * kLanes);
    }
  }
}

using TileFunction = void (*)(const ProductTile&);

// tiles<Words>(rows, panels): one function per tile size, so that each has its sums in registers.
template <class Words, std::size_t R>
TileFunction tiles_of_row(std::size_t panels) {
  if constexpr (Words::kPanels >= 4)
    if (panels == 4) return &product_tile<Words, R, 4>;
  if constexpr (Words::kPanels >= 3)
    if (panels == 3) return &product_tile<Words, R, 3>;
  if constexpr (Words::kPanels >= 2)
    if (panels == 2) return &product_tile<Words, R, 2>;
  return &product_tile<Words, R, 1>;
}
template <class Words>
TileFunction tiles(std::size_t rows, std::size_t panels) {
  if constexpr (Words::kRows >= 6) {
    if (rows == 6) return tiles_of_row<Words, 6>(panels);
    if (rows == 5) return tiles_of_row<Words, 5>(panels);
  }
  if (rows == 4) return tiles_of_row<Words, 4>(panels);
  if (rows == 3) return tiles_of_row<Words, 3>(panels);
  if (rows == 2) return tiles_of_row<Words, 2>(panels);
  return panels == Words::kWide ? &product_tile<Words, 1, Words::kWide> : tiles_of_row<Words, 1>(panels);
}

template <class Words>
HWY_INLINE void product(const ProductTask& t) {
  ProductTile tile{};
  tile.panel_stride = t.steps * 16;
  tile.y_stride = t.y_stride;
  // Few rows read each weight once: nothing to keep near, and one visit is cheaper.
  const std::size_t block = t.rows <= Words::kRows ? t.steps : kStepBlock;
  for (std::size_t first = 0; first < t.steps || first == 0; first += block) {
    tile.steps = t.steps - first < block ? t.steps - first : block;
    tile.carry = first > 0;
    const bool last = first + tile.steps == t.steps;
    std::size_t panels = 0;
    for (std::size_t panel = 0; panel < t.panels; panel += panels) {
      const std::size_t left = t.panels - panel;
      panels = t.rows == 1 && left >= Words::kWide ? Words::kWide : left < Words::kPanels ? left : Words::kPanels;
      tile.w = t.w + panel * tile.panel_stride + first * 16;
      tile.scale = last && t.scale ? t.scale + panel * 16 : nullptr;
      tile.outputs = t.outputs - panel * 16 < panels * 16 ? t.outputs - panel * 16 : panels * 16;
      std::size_t tiles_left = (t.rows + Words::kRows - 1) / Words::kRows, rows = 0;
      for (std::size_t row = 0; row < t.rows; row += rows, --tiles_left) {
        rows = (t.rows - row + tiles_left - 1) / tiles_left;  // of equal size, as far as that goes: 8 are 4 and 4
        for (std::size_t r = 0; r < rows; ++r) tile.x[r] = t.x + (row + r) * t.x_stride + first;
        tile.y = t.y + row * t.y_stride + panel * 16;
        tiles<Words>(rows, panels)(tile);
      }
    }
    if (block == 0) break;
  }
}

void float_task(const ProductTask& task) { product<FloatWords>(task); }
void pair_task(const ProductTask& task) { product<PairWords>(task); }
#if HWY_TARGET == HWY_AVX3
void bf16_task(const ProductTask& task) { product<Bf16Words>(task); }
#endif

}  // namespace lowbit::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // LOWBIT_VECTOR_TARGET

#if HWY_ONCE
#include <algorithm>
#include <atomic>
#include <cassert>

#include "lowbit/base/math.h"
#include "lowbit/machine/bf16_unit.h"
#include "lowbit/machine/isa.h"

namespace lowbit::kernels {
namespace scalar {

void float_task(const ProductTask& t) {
  for (std::size_t i = 0; i < t.rows; ++i)
    for (std::size_t j = 0; j < t.outputs; ++j) {
      const float* w = t.w + j / 16 * t.steps * 16 + j % 16;
      float sum = 0;
      for (std::size_t k = 0; k < t.steps; ++k) sum = math::fma(t.x[i * t.x_stride + k], w[k * 16], sum);
      t.y[i * t.y_stride + j] = t.scale ? sum * t.scale[j] : sum;
    }
}

void pair_task(const ProductTask& t) {
  const auto* x = reinterpret_cast<const bf16*>(t.x);
  const auto* w = reinterpret_cast<const bf16*>(t.w);
  for (std::size_t i = 0; i < t.rows; ++i)
    for (std::size_t j = 0; j < t.outputs; ++j) {
      const bf16* row = x + 2 * i * t.x_stride;
      const bf16* column = w + 2 * (j / 16 * t.steps * 16 + j % 16);
      float sum = 0;
      for (std::size_t k = 0; k < t.steps; ++k) {
        sum = math::fma(to_float(row[2 * k + 1]), to_float(column[32 * k + 1]), sum);
        sum = math::fma(to_float(row[2 * k]), to_float(column[32 * k]), sum);
      }
      t.y[i * t.y_stride + j] = sum;
    }
}

}  // namespace scalar

namespace {

// Tasks of 48 rows by 12 panels: small enough to spread over threads, large enough that reading the operands from the
// second or third cache costs less than the arithmetic. Few rows: tasks of panels alone.
constexpr std::size_t kTaskRows = 48, kTaskPanels = 12, kFewRows = 8, kFewRowsPanels = 8;

void split_into_tasks(Executor& executor, const ProductTask& all, void (*run)(const ProductTask&)) {
  if (all.rows == 0 || all.outputs == 0) return;
  const std::size_t task_panels = all.rows <= kFewRows ? kFewRowsPanels : kTaskPanels;
  const std::size_t across = (all.panels + task_panels - 1) / task_panels;
  const std::size_t down = (all.rows + kTaskRows - 1) / kTaskRows;
  executor.parallel_for(across * down, [&](std::size_t index) {
    const std::size_t row = index % down * kTaskRows, panel = index / down * task_panels;
    ProductTask task = all;
    task.rows = std::min(kTaskRows, all.rows - row);
    task.panels = std::min(task_panels, all.panels - panel);
    task.outputs = std::min(task.panels * 16, all.outputs - panel * 16);
    task.x += row * all.x_stride;
    task.w += panel * all.steps * 16;
    if (task.scale) task.scale += panel * 16;
    task.y += row * all.y_stride + panel * 16;
    run(task);
  });
}

}  // namespace

void float_product(Executor& executor, std::size_t m, const float* x, std::size_t x_stride, const FloatPanels& w,
                   float* y, std::size_t y_stride) {
  assert(x_stride >= w.k && y_stride >= w.n);
  const ProductTask all{m,        (w.n + 15) / 16, w.k, w.n, x, x_stride, w.data.data(),
                        w.scale.empty() ? nullptr : w.scale.data(), y,   y_stride};
  split_into_tasks(executor, all, LOWBIT_PICK(float_task));
}

void bf16_product(Executor& executor, std::size_t m, const bf16* x, const Bf16Panels& w, float* y,
                  std::size_t y_stride) {
  assert(y_stride >= w.n);
  // Words of two bfloat16: read as such by the kernels, never as floats.
  const ProductTask all{m,
                        (w.n + 15) / 16,
                        (w.k + 1) / 2,
                        w.n,
                        reinterpret_cast<const float*>(x),
                        bf16_stride(w.k) / 2,
                        reinterpret_cast<const float*>(w.data.data()),
                        nullptr,
                        y,
                        y_stride};
#if defined(__x86_64__)
  split_into_tasks(executor, all, bf16_unit_in_use() ? &N_AVX3::bf16_task : LOWBIT_PICK(pair_task));
#else
  split_into_tasks(executor, all, &scalar::pair_task);
#endif
}

}  // namespace lowbit::kernels
#endif  // HWY_ONCE
