#pragma once
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "kernels/code_support.h"
#include "lowbit/kernels/reference.h"

// Numbers computed outside of this project, in float64, from the method's formulas: see docs/reference/arithmetic.md
// for what each stands for. Tolerance: 1e-6 relative for the reference in double (or the digits that are printed), 1e-4
// for float32.
namespace lowbit::kernels::test {

inline constexpr double kTight = 1e-6, kLoose = 1e-4;

// Half a unit of the last printed digit (8 decimals), or the relative tolerance, whichever is wider.
inline void expect_near(double value, double expected, double relative, const std::string& what = {}) {
  EXPECT_NEAR(value, expected, std::max(6e-9, std::abs(expected) * relative)) << what;
}
// For float32: zeros of sums of numbers of size 1 may be off by a few 2^-24.
inline void expect_near_float(double value, double expected, const std::string& what = {}) {
  EXPECT_NEAR(value, expected, std::max(2e-6, std::abs(expected) * kLoose)) << what;
}

template <class F>
void on_every_isa(F&& body) {
  for (const Isa isa : supported_isas()) {
    SCOPED_TRACE(std::string(isa_name(isa)));
    const ForcedIsa forced(isa);
    body();
  }
}

inline const Grid& grid_of_bits(int bits) { return *find_grid(std::to_string(bits)); }

// One coded row or matrix as the oracles state it: integers k, decoded values, mask.
struct Coded {
  std::vector<int> k;
  std::vector<double> value;
  std::vector<bool> mask;
  std::vector<double> scale;  // h a row
  std::vector<int> k_sum;
};

template <class T>
Coded code_by_definition(const std::vector<double>& x, std::size_t rows, const Grid& grid, double factor, int group) {
  Coded out;
  const std::size_t k = x.size() / rows;
  for (std::size_t row = 0; row < rows; ++row) {
    std::vector<T> x_h(x.begin() + static_cast<std::ptrdiff_t>(row * k),
                       x.begin() + static_cast<std::ptrdiff_t>((row + 1) * k));
    std::vector<std::uint8_t> codes(k);
    reference::hadamard_row<T>(x_h, group);
    const auto coded = reference::code_row<T>(x_h, grid, factor, codes.data());
    out.scale.push_back(coded.scale);
    out.k_sum.push_back(0);
    for (std::size_t i = 0; i < k; ++i) {
      out.k.push_back(codes[i] + grid.lowest());
      out.k_sum.back() += out.k.back();
      out.value.push_back(grid.value_of_code(codes[i]) * static_cast<double>(coded.scale));
      out.mask.push_back(reference::trusted(x_h[i], coded.threshold));
    }
  }
  return out;
}

inline Coded code_by_kernel(const std::vector<double>& x, std::size_t rows, const Grid& grid, double factor,
                            int group) {
  SerialExecutor serial;
  Coded out;
  const std::size_t k = x.size() / rows;
  const std::vector<float> values(x.begin(), x.end());
  OwnedRows coded(rows, k);
  code_rows(serial, {&grid, group, factor}, rows, k, values.data(), k, coded.view());
  for (std::size_t row = 0; row < rows; ++row) {
    out.scale.push_back(coded.scale[row]);
    out.k_sum.push_back(coded.sum[row] + static_cast<int>(k) * grid.lowest());
    for (std::size_t i = 0; i < k; ++i) {
      const int u = coded.codes[row * code_stride(k) + i];
      out.k.push_back(u + grid.lowest());
      out.value.push_back(grid.value_of_code(u) * static_cast<double>(coded.scale[row]));
      out.mask.push_back(coded.mask[row * mask_words(k) + i / 64] >> (i % 64) & 1);
    }
  }
  return out;
}

// Checks a claim about coding in double by the definition and in float by the kernel of every instruction set.
template <class F>
void in_double_and_by_every_kernel(const std::vector<double>& x, std::size_t rows, const Grid& grid, double factor,
                                   int group, F&& check) {
  {
    SCOPED_TRACE("definition in double, grid " + std::string(grid.name));
    check(code_by_definition<double>(x, rows, grid, factor, group), kTight);
  }
  on_every_isa([&] {
    SCOPED_TRACE("grid " + std::string(grid.name));
    check(code_by_kernel(x, rows, grid, factor, group), kLoose);
  });
}

inline double squared_error(const std::vector<double>& x, const Coded& coded, std::size_t n) {
  double sum = 0;
  for (std::size_t i = 0; i < n; ++i) sum += (x[i] - coded.value[i]) * (x[i] - coded.value[i]);
  return sum;
}

inline std::string bits(const std::vector<bool>& mask) {
  std::string text;
  for (const bool bit : mask) text += bit ? '1' : '0';
  return text;
}

}  // namespace lowbit::kernels::test
