#pragma once
#include <algorithm>
#include <cstddef>
#include <vector>

#include "lowbit/base/math.h"

// The products of the reference model at a speed that lets 40 training steps in double fit a test: the same bits as
// reference::product_a, because vector lanes lie over outputs and every output sums over k in ascending order by fma.
namespace lowbit::golden {

namespace detail {
template <class T>
[[gnu::always_inline]] inline void product_body(std::size_t m, std::size_t n, std::size_t k, const T* a,
                                                std::size_t a_row, std::size_t a_step, const T* b, T* c) {
  constexpr std::size_t kColumns = 64;
  for (std::size_t begin = 0; begin < n; begin += kColumns) {
    const std::size_t columns = std::min(kColumns, n - begin);
    for (std::size_t i = 0; i < m; ++i) {
      T acc[kColumns] = {};
      const T* ai = a + i * a_row;
      std::size_t l = 0;
      for (; l + 4 <= k; l += 4) {
        const T a0 = ai[l * a_step], a1 = ai[(l + 1) * a_step], a2 = ai[(l + 2) * a_step], a3 = ai[(l + 3) * a_step];
        const T* b0 = b + l * n + begin;
        const T *b1 = b0 + n, *b2 = b1 + n, *b3 = b2 + n;
        if (columns == kColumns) {
          for (std::size_t j = 0; j < kColumns; ++j)
            acc[j] = math::fma(a3, b3[j], math::fma(a2, b2[j], math::fma(a1, b1[j], math::fma(a0, b0[j], acc[j]))));
        } else {
          for (std::size_t j = 0; j < columns; ++j)
            acc[j] = math::fma(a3, b3[j], math::fma(a2, b2[j], math::fma(a1, b1[j], math::fma(a0, b0[j], acc[j]))));
        }
      }
      for (; l < k; ++l)
        for (std::size_t j = 0; j < columns; ++j) acc[j] = math::fma(ai[l * a_step], b[l * n + begin + j], acc[j]);
      std::copy(acc, acc + columns, c + i * n + begin);
    }
  }
}

#if defined(__x86_64__)
template <class T>
[[gnu::target("avx2,fma")]] void product_fma(std::size_t m, std::size_t n, std::size_t k, const T* a, std::size_t a_row,
                                             std::size_t a_step, const T* b, T* c) {
  product_body(m, n, k, a, a_row, a_step, b, c);
}
#endif
}  // namespace detail

/// c [m, n] = a b, b [k, n]; element (i, l) of a lies at a[i * a_row + l * a_step], so that a may be a transpose.
template <class T>
void product(std::size_t m, std::size_t n, std::size_t k, const T* a, std::size_t a_row, std::size_t a_step, const T* b,
             T* c) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    return detail::product_fma(m, n, k, a, a_row, a_step, b, c);
#endif
  detail::product_body(m, n, k, a, a_row, a_step, b, c);
}

/// [rows, columns] to [columns, rows].
template <class T>
std::vector<T> transposed(const std::vector<T>& x, std::size_t rows, std::size_t columns) {
  std::vector<T> out(x.size());
  for (std::size_t i = 0; i < rows; ++i)
    for (std::size_t j = 0; j < columns; ++j) out[j * rows + i] = x[i * columns + j];
  return out;
}

}  // namespace lowbit::golden
