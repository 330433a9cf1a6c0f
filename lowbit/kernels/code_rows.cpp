#include "lowbit/kernels/code_rows.h"

#include <algorithm>
#include <cassert>
#include <cstring>

#include "lowbit/base/aligned.h"
#include "lowbit/kernels/code_rows_forms.h"
#include "lowbit/kernels/reference.h"
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
  const auto row = reference::code_row(x, *job.grid, static_cast<double>(job.trust_factor), job.codes);
  std::fill(job.codes + job.k, job.codes + code_stride(job.k), std::uint8_t{0});
  *job.scale = row.scale;
  *job.sum = 0;
  for (std::size_t i = 0; i < job.k; ++i) *job.sum += job.codes[i];
  if (!job.mask) return;
  std::fill(job.mask, job.mask + mask_words(job.k), std::uint64_t{0});
  for (std::size_t i = 0; i < job.k; ++i)
    job.mask[i / 64] |= std::uint64_t{reference::trusted(x[i], row.threshold)} << (i % 64);
}

void decode_row_scalar(const DecodeRowJob& job) {
  for (std::size_t i = 0; i < job.k; ++i)
    job.y[i] = static_cast<float>(job.grid->value_of_code(job.codes[i])) * job.scale;
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

// A task is some rows, about 16 thousand values: long against the cost of handing it out, short against a batch.
template <class F>
void for_rows(Executor& executor, std::size_t rows, std::size_t k, F&& row) {
  const std::size_t chunk = std::max<std::size_t>(1, 16384 / std::max<std::size_t>(k, 1));
  executor.parallel_for((rows + chunk - 1) / chunk, [&](std::size_t task) {
    for (std::size_t i = task * chunk; i < std::min(rows, (task + 1) * chunk); ++i) row(i);
  });
}

// One rotated row of each thread. Grows to the longest row seen, then stays.
float* rotated_row(std::size_t k) {
  thread_local Buffer<float> scratch;
  scratch.resize((k + 15) / 16 * 16);
  return scratch.data();
}

}  // namespace

void code_rows(Executor& executor, const RowCoding& coding, std::size_t rows, std::size_t k, const float* x,
               std::size_t x_stride, const CodedRows& out) {
  const Rotation rotation = rotation_of(coding.group, k);
  const RowForms& forms = row_forms();
  for_rows(executor, rows, k, [&](std::size_t i) {
    forms.code({x + i * x_stride, k, rotation, coding.grid, static_cast<float>(coding.trust_factor),
                coding.group == 1 ? nullptr : rotated_row(k), out.codes + i * code_stride(k), out.scale + i,
                out.sum + i, out.mask ? out.mask + i * mask_words(k) : nullptr});
  });
}

void rotate_rows(Executor& executor, int group, std::size_t rows, std::size_t k, const float* x, std::size_t x_stride,
                 float* y, std::size_t y_stride) {
  const Rotation rotation = rotation_of(group, k);
  const RowForms& forms = row_forms();
  for_rows(executor, rows, k,
           [&](std::size_t i) { forms.rotate(rotation, k, x + i * x_stride, nullptr, y + i * y_stride); });
}

void mask_and_rotate_rows(Executor& executor, int group, std::size_t rows, std::size_t k, const std::uint64_t* mask,
                          float* g, std::size_t g_stride) {
  const Rotation rotation = rotation_of(group, k);
  const RowForms& forms = row_forms();
  for_rows(executor, rows, k, [&](std::size_t i) {
    float* row = g + i * g_stride;
    forms.rotate(rotation, k, row, mask ? mask + i * mask_words(k) : nullptr, row);
  });
}

void decode_rows(Executor& executor, const RowCoding& coding, std::size_t rows, const std::int32_t* ids, std::size_t k,
                 const std::uint8_t* codes, const float* scale, float* y, std::size_t y_stride) {
  const Rotation rotation = rotation_of(coding.group, k);
  const RowForms& forms = row_forms();
  for_rows(executor, rows, k, [&](std::size_t i) {
    const auto id = static_cast<std::size_t>(ids[i]);
    forms.decode({codes + id * code_stride(k), k, rotation, coding.grid, scale[id], y + i * y_stride});
  });
}

}  // namespace lowbit::kernels
