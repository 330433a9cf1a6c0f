#include "lowbit/kernels/code_rows.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cmath>
#include <cstring>

#include "lowbit/base/aligned.h"
#include "lowbit/kernels/code_rows_forms.h"
#include "lowbit/kernels/reference.h"
#include "lowbit/kernels/row_tasks.h"
#include "lowbit/machine/isa.h"

namespace lowbit::kernels {
namespace {

void rotate_row_scalar(Rotation rotation, std::size_t k, const float* x, const std::uint64_t* mask, float* y) {
  if (x != y) std::memcpy(y, x, k * sizeof(float));
  if (mask)
    for (std::size_t i = 0; i < k; ++i)
      if (!(mask[i / 64] >> (i % 64) & 1)) y[i] = 0;
  reference::hadamard_row(std::span(y, k), rotation.group);
}

void code_row_scalar(const CodeRowJob& job) {
  std::span<const float> x(job.x, job.k);
  if (job.rotation.group != 1) {
    rotate_row_scalar(job.rotation, job.k, job.x, nullptr, job.rotated);
    x = {job.rotated, job.k};
  }
  SideCoding side{job.grid, job.trust, job.rule};
  side.step = static_cast<double>(job.step);
  const auto row = reference::code_row(x, side, job.codes);
  std::fill(job.codes + job.k, job.codes + code_stride(job.k), std::uint8_t{0});
  *job.scale = row.scale;
  *job.rms = job.rule == ScaleRule::mse ? job.step : reference::rms<float>(x);
  *job.sum = 0;
  for (std::size_t i = 0; i < job.k; ++i) *job.sum += job.codes[i];
  if (!job.mask) return;
  std::fill(job.mask, job.mask + mask_words(job.k), std::uint64_t{0});
  for (std::size_t i = 0; i < job.k; ++i)
    job.mask[i / 64] |= std::uint64_t{reference::trusted(x[i], row, false)} << (i % 64);
}

void decode_row_scalar(const DecodeRowJob& job) {
  for (std::size_t i = 0; i < job.k; ++i)
    job.y[i] = static_cast<float>(job.grid->value(job.codes[i])) * job.scale;
  reference::hadamard_row(std::span(job.y, job.k), job.rotation.group);
}

constexpr RowForms kRowFormsScalar{&code_row_scalar, &decode_row_scalar, &rotate_row_scalar};

const RowForms& row_forms() {
#if defined(__x86_64__)
  switch (active_isa()) {
    case Isa::avx512:
      return kRowFormsAvx512;
    case Isa::avx2:
      return kRowFormsAvx2;
    case Isa::scalar:
      break;
  }
#endif
  return kRowFormsScalar;
}

Rotation rotation_of(int group, [[maybe_unused]] std::size_t k) {
  assert(group >= 1 && group <= 128 && (group & (group - 1)) == 0 && k % static_cast<std::size_t>(group) == 0);
  return {group, reference::hadamard_scale<float>(group)};
}

template <class F>
void for_each_row(Executor& executor, std::size_t rows, std::size_t k, F&& row) {
  for_rows(executor, rows, k, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) row(i);
  });
}

// A row that was coded on the dense grid, to its 2:4 form: codes, their sum, mask and scale. Weights alone, once a
// step.
void prune_row(const RowCoding& coding, const CodeRowJob& job) {
  const Grid& grid = *coding.grid;
  const std::span x(job.rotation.group == 1 ? job.x : job.rotated, job.k);
  reference::prune_row<float>(x, grid, job.codes);
  std::int32_t sum = 0;
  for (const std::uint8_t u : std::span(job.codes, job.k)) sum += u;
  *job.sum = sum;
  if (coding.sparse_scale == SparseScale::refit)
    *job.scale = reference::refitted_scale<float>(x, grid, job.codes, *job.scale);
  if (!job.mask) return;
  const float threshold = reference::trust_threshold<float>(coding.trust.pruned, *job.rms);
  for (std::size_t i = 0; i < job.k; ++i) {
    if (!reference::is_pruned(grid, job.codes[i])) continue;
    const std::uint64_t bit = std::uint64_t{1} << (i % 64);
    if (reference::trusted(x[i], threshold))
      job.mask[i / 64] |= bit;
    else
      job.mask[i / 64] &= ~bit;
  }
}

// One rotated row of each thread. Grows to the longest row seen, then stays.
float* rotated_row(std::size_t k) {
  thread_local Buffer<float> scratch;
  scratch.resize((k + 15) / 16 * 16);
  return scratch.data();
}

}  // namespace

RowScales row_scales(const CodeRowJob& job, float sum, float largest) {
  const bool given = job.rule == ScaleRule::learned || job.rule == ScaleRule::mse;
  const float r = given ? job.step : math::sqrt(sum / static_cast<float>(job.k));
  const auto s = reference::row_scale(*job.grid, job.rule, r, largest);
  *job.rms = r;
  const float unit = std::abs(r);
  return {s.cells, s.scale, reference::trust_threshold<float>(job.trust.edge, unit),
          reference::trust_threshold<float>(job.trust.hole_begin, unit),
          reference::trust_threshold<float>(job.trust.hole_end, unit)};
}

void table_edges(const Grid& grid, float* edges) {
  for (int u = 0; u + 1 < grid.levels; ++u) edges[u] = reference::table_edge<float>(grid, u);
}

void code_rows(Executor& executor, const RowCoding& coding, std::size_t rows, std::size_t k, const float* x,
               std::size_t x_stride, const CodedRows& out) {
  const Rotation rotation = rotation_of(coding.group, k);
  const RowForms& forms = row_forms();
  const Grid* dense = coding.grid->dense;
  assert(!dense || k % 8 == 0);
  const bool shifted = coding.shift != Shift::none, searched = coding.scale == ScaleRule::mse;
  const bool rotated_before = shifted || searched;
  for_each_row(executor, rows, k, [&](std::size_t i) {
    float rms, step = coding.step;
    const float* row = x + i * x_stride;
    if (rotated_before) {
      float* const rotated = rotated_row(k);
      forms.rotate(rotation, k, row, nullptr, rotated);
      row = rotated;
    }
    if (searched)
      step = reference::best_rms<float>({row, k}, dense ? *dense : *coding.grid, reference::rms<float>({row, k}));
    if (shifted) {
      float* const rotated = rotated_row(k);
      const float offset = coding.shift == Shift::mean ? reference::row_mean<float>({rotated, k}) : coding.offset;
      if (coding.shift == Shift::mean) out.offset[i] = offset;
      reference::shift_row<float>({rotated, k}, offset);
    }
    const CodeRowJob job{row,
                         k,
                         rotated_before ? rotation_of(1, k) : rotation,
                         dense ? dense : coding.grid,
                         coding.scale,
                         coding.trust,
                         step,
                         coding.group == 1 ? nullptr : rotated_row(k),
                         out.codes + i * code_stride(k),
                         out.scale + i,
                         out.sum + i,
                         out.mask ? out.mask + i * mask_words(k) : nullptr,
                         &rms};
    forms.code(job);
    if (dense) prune_row(coding, job);
  });
}

void mask_pairs(Executor& executor, std::size_t rows, std::size_t k, const float* x, float* y, std::uint64_t* mask) {
  assert(k % 8 == 0);
  for_each_row(executor, rows, k, [&](std::size_t row) {
    const float* from = x + row * k;
    std::uint64_t* bits = mask + row * mask_words(k);
    std::fill_n(bits, mask_words(k), std::uint64_t{0});
    for (std::size_t i = 0; i < k; i += 8) {
      const unsigned pruned = reference::pruned_pairs(from + i);
      for (std::size_t j = 0; j < 8; ++j) {
        const bool survives = !(pruned >> j / 2 & 1);
        y[row * k + i + j] = survives ? from[i + j] : 0.0f;
        bits[(i + j) / 64] |= std::uint64_t{survives} << ((i + j) % 64);
      }
    }
  });
}

void rotate_rows(Executor& executor, int group, std::size_t rows, std::size_t k, const float* x, std::size_t x_stride,
                 float* y, std::size_t y_stride) {
  const Rotation rotation = rotation_of(group, k);
  const RowForms& forms = row_forms();
  for_each_row(executor, rows, k,
           [&](std::size_t i) { forms.rotate(rotation, k, x + i * x_stride, nullptr, y + i * y_stride); });
}

void mask_and_rotate_rows(Executor& executor, int group, std::size_t rows, std::size_t k, const std::uint64_t* mask,
                          float* g, std::size_t g_stride) {
  const Rotation rotation = rotation_of(group, k);
  const RowForms& forms = row_forms();
  for_each_row(executor, rows, k, [&](std::size_t i) {
    float* row = g + i * g_stride;
    forms.rotate(rotation, k, row, mask ? mask + i * mask_words(k) : nullptr, row);
  });
}

void decode_rows(Executor& executor, const RowCoding& coding, std::size_t rows, const std::int32_t* ids, std::size_t k,
                 const std::uint8_t* codes, const float* scale, float* y, std::size_t y_stride) {
  const Rotation rotation = rotation_of(coding.group, k);
  const RowForms& forms = row_forms();
  std::array<float, 256> levels{};
  for (int u = 0; u < coding.grid->levels; ++u)
    levels[static_cast<std::size_t>(u)] = static_cast<float>(coding.grid->value(u));
  for_each_row(executor, rows, k, [&](std::size_t i) {
    const std::size_t id = ids ? static_cast<std::size_t>(ids[i]) : i;
    if (coding.grid->cells == Cells::table) {
      for (std::size_t j = 0; j < k; ++j) y[i * y_stride + j] = levels[codes[id * code_stride(k) + j]] * scale[id];
      if (coding.group > 1) forms.rotate(rotation, k, y + i * y_stride, nullptr, y + i * y_stride);
      return;
    }
    forms.decode({codes + id * code_stride(k), k, rotation, coding.grid, scale[id], y + i * y_stride});
  });
}

}  // namespace lowbit::kernels
