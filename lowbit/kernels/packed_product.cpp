#include <algorithm>
#include <array>
#include <cassert>
#include <cstring>

#include "lowbit/kernels/code_product_forms.h"
#include "lowbit/kernels/packed_panels.h"
#include "lowbit/kernels/packed_product_forms.h"
#include "lowbit/kernels/reference.h"
#include "lowbit/machine/isa.h"

namespace lowbit::kernels {
namespace {

// What an instruction set brings; null functions: the definition.
struct Forms {
  void (*packed)(const PackedTile&) = nullptr;
  void (*unpack)(const UnpackTile&) = nullptr;
  void (*bytes)(const ProductTile&) = nullptr;
  std::size_t rows = 1;  // of a register tile
};

Forms forms() {
#if defined(__x86_64__)
  switch (active_isa()) {
    case Isa::avx512:
      return {&packed_tile_avx512, &unpack_panel_avx512, &product_tile_avx512, kPackedRowsAvx512};
    case Isa::avx2:
      return {&packed_tile_avx2, &unpack_panel_avx2, &product_tile_avx2, kPackedRowsAvx2};
    case Isa::scalar:
      break;
  }
#endif
  return {};
}

// In units of one vector's product with one row: bringing a field to its place costs about one, and so does storing
// bytes and reading them again. Few rows pay the first for each register tile, many pay both once.
bool better_packed(std::size_t m, std::size_t tile_rows, int bits) {
  constexpr std::size_t kStore = 2;
  const auto take_out = static_cast<std::size_t>(code_fields(bits).count);
  return (m + tile_rows - 1) / tile_rows * take_out <= take_out + kStore;
}

// What a task computes is exact, so its size may depend on the threads. A task of few rows is one or more groups of
// panels: about so many vectors multiplied or read (512 KB of weights, one row), because a task begins with nothing
// fetched and ends with having fetched what another thread reads; fewer, down to the least, where that gives every
// thread as many tasks as the others. A task of many rows unpacks its group, so it takes all rows, or at least enough
// of them to hide that, where there would be too few tasks.
constexpr std::size_t kVectorsPerTask = 65536, kLeastVectors = 1024;
constexpr std::size_t kUnpackedRows = 128, kTasks = 32;
constexpr std::size_t kGroup = 16 * kPanelsPerGroup;

struct Plan {
  const PackedPanels* w;
  float* y;
  std::size_t y_stride;
  bool packed;
  std::size_t groups, group_tasks, row_blocks;
  std::size_t tasks() const { return group_tasks * row_blocks; }
  PackedFactors few;
  SumFactors many;
};

Plan plan_of(const PackedProduct& product, std::size_t m, const Grid& x, std::size_t tile_rows, std::size_t threads) {
  const PackedPanels& w = *product.weights;
  const Grid& grid = *w.grid;
  const std::size_t groups = (w.n + kGroup - 1) / kGroup;
  Plan plan{&w, product.y, product.y_stride, better_packed(m, tile_rows, grid.storage_bits), groups, groups, 1, {}, {}};
  if (plan.packed) {
    const std::size_t vectors = groups * w.k * std::max(m, static_cast<std::size_t>(grid.storage_bits));
    const std::size_t asked = (vectors + kVectorsPerTask - 1) / kVectorsPerTask;
    const std::size_t even = (asked + threads - 1) / threads * threads;
    plan.group_tasks = std::clamp<std::size_t>(std::min(even, vectors / kLeastVectors), 1, groups);
  } else {
    plan.row_blocks = std::clamp<std::size_t>(kTasks / groups, 1, std::max<std::size_t>(1, m / kUnpackedRows));
  }

  const int a_x = x.multiplier(), c_x = x.value_of_code(0), a_w = grid.multiplier(), c_w = grid.value_of_code(0);
  const int c_v = x.levels > 128 ? x.value_of_code(128) : c_x;
  const auto k = static_cast<std::uint32_t>(w.k);
  plan.few = {a_x * a_w / 2, a_x * c_w, c_v * a_w, k * static_cast<std::uint32_t>(c_w * c_x)};
  plan.many = sum_factors(x, grid, w.k);
  // Sums over u stand where that over u + lowest would.
  plan.many.constant += static_cast<std::uint32_t>(plan.many.of_w * grid.lowest()) * k;
  return plan;
}

// Rows as signed bytes: as they are, but for 8 bits, where they are copied with the offset taken off. Reused memory of
// the calling thread.
const std::int8_t* signed_rows(std::size_t m, std::size_t stride, const Grid& grid, const std::uint8_t* codes) {
  if (grid.levels <= 128) return reinterpret_cast<const std::int8_t*>(codes);
  thread_local Buffer<std::int8_t> rows;
  if (rows.size() < m * stride) rows.resize(m * stride);
  std::int8_t* to = rows.data();
  for (std::size_t i = 0; i < m * stride; ++i) to[i] = static_cast<std::int8_t>(codes[i] ^ 0x80);
  return to;
}

// Code u of output j of a panel at i.
int code_at(const std::uint8_t* panel, int bits, std::size_t j, std::size_t i) {
  const CodeFields fields = code_fields(bits);
  const std::uint8_t* block = panel + i / 32 * 64 * static_cast<std::size_t>(bits) + 4 * j + i % 4;
  const int quad = static_cast<int>(i % 32 / 4);
  int code = 0;
  for (int f = 0; f < fields.count; ++f) {
    const int wide = fields.bits[f], in_vector = 8 / wide;
    const int byte = block[64 * (fields.vector[f] + quad / in_vector)];
    code |= (byte >> (wide * (quad % in_vector)) & ((1 << wide) - 1)) << fields.low[f];
  }
  return code;
}

// The definition itself, on the panels' codes put back into rows.
void product_scalar(const Plan& plan, std::size_t first_row, std::size_t rows, const Grid& x_grid, const CodedRows& x,
                    std::size_t begin, std::size_t end) {
  const PackedPanels& w = *plan.w;
  thread_local Buffer<std::uint8_t> codes;
  codes.resize(w.k);
  for (std::size_t n = begin; n < end; ++n) {
    for (std::size_t i = 0; i < w.k; ++i)
      codes[i] =
          static_cast<std::uint8_t>(code_at(w.data.data() + n / 16 * w.panel_bytes(), w.grid->storage_bits, n % 16, i));
    for (std::size_t row = first_row; row < first_row + rows; ++row)
      plan.y[row * plan.y_stride + n] = reference::code_product<float>(
          {x.codes + row * code_stride(w.k), w.k}, x_grid, x.scale[row], {codes.data(), w.k}, *w.grid, w.scale[n]);
  }
}

void few_rows(const Plan& plan, const Forms& forms, std::size_t m, const CodedRows& x, const std::int8_t* values,
              std::size_t n) {
  const PackedPanels& w = *plan.w;
  forms.packed({plan.few, w.grid->storage_bits, (w.k + 31) / 32, m, values, code_stride(w.k), x.scale, x.sum,
                w.data.data() + n / 16 * w.panel_bytes(), w.panel_bytes(), w.sum.data() + n, w.scale.data() + n,
                std::min(kGroup, w.n - n), plan.y + n, plan.y_stride});
}

void many_rows(const Plan& plan, const Forms& forms, std::size_t row, std::size_t rows, const CodedRows& x,
               std::size_t n) {
  const PackedPanels& w = *plan.w;
  const std::size_t stride = code_stride(w.k), outputs = std::min(kGroup, w.n - n);
  thread_local Buffer<std::int8_t> bytes;
  if (bytes.size() < kGroup * stride) bytes.resize(kGroup * stride);
  for (std::size_t p = 0; p < (outputs + 15) / 16; ++p)
    forms.unpack({w.grid->storage_bits, w.grid->lowest(), stride / 32, w.data.data() + (n / 16 + p) * w.panel_bytes(),
                  bytes.data() + p * 16 * stride});
  forms.bytes({plan.many, (w.k + 3) / 4, rows, x.codes + row * stride, stride, x.scale + row, x.sum + row, bytes.data(),
               16 * stride, w.sum.data() + n, w.scale.data() + n, outputs, plan.y + row * plan.y_stride + n,
               plan.y_stride});
}

}  // namespace

void code_products(Executor& executor, std::size_t m, const Grid& x_grid, const CodedRows& x,
                   std::span<const PackedProduct> products) {
  std::array<Plan, kMostProducts> plans;
  assert(products.size() <= plans.size());
  if (m == 0 || products.empty()) return;
  const Forms form = forms();
  const std::size_t k = products[0].weights->k;
  std::size_t tasks = 0, count = 0;
  bool any_packed = false;
  for (const PackedProduct& product : products) {
    assert(product.weights->k == k && static_cast<std::int64_t>(k) <= longest_row(x_grid, *product.weights->grid));
    if (product.weights->n == 0) continue;
    plans[count] = plan_of(product, m, x_grid, form.rows, static_cast<std::size_t>(executor.threads()));
    tasks += plans[count].tasks();
    any_packed |= plans[count].packed;
    ++count;
  }
  const std::int8_t* values = any_packed && form.packed ? signed_rows(m, code_stride(k), x_grid, x.codes) : nullptr;
  executor.parallel_for(tasks, [&](std::size_t task) {
    const Plan* plan = plans.data();
    for (; task >= plan->tasks(); ++plan) task -= plan->tasks();
    const std::size_t part = task / plan->row_blocks;
    const std::size_t begin = plan->groups * part / plan->group_tasks * kGroup;
    const std::size_t end = std::min(plan->w->n, plan->groups * (part + 1) / plan->group_tasks * kGroup);
    const std::size_t block = task % plan->row_blocks;
    const std::size_t row = m * block / plan->row_blocks, rows = m * (block + 1) / plan->row_blocks - row;
    if (!form.packed) {
      product_scalar(*plan, row, rows, x_grid, x, begin, end);
      return;
    }
    for (std::size_t n = begin; n < end; n += kGroup)
      if (plan->packed)
        few_rows(*plan, form, m, x, values, n);
      else
        many_rows(*plan, form, row, rows, x, n);
  });
}

void code_product(Executor& executor, std::size_t m, const Grid& x_grid, const CodedRows& x, const PackedPanels& w,
                  float* y, std::size_t y_stride) {
  const PackedProduct product{&w, y, y_stride};
  code_products(executor, m, x_grid, x, {&product, 1});
}

}  // namespace lowbit::kernels
