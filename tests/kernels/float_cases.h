#pragma once
#include <algorithm>

#include "kernels/float_support.h"
#include "lowbit/base/math.h"
#include "lowbit/kernels/float_product.h"
#include "lowbit/kernels/vector_math.h"

// Comparisons that the quick tests make on a sample and the long ones on everything.
namespace lowbit::kernels::test_cases {

using namespace lowbit::test;

/// exp of vectors against math::exp, bit for bit, NaNs too.
inline void compare_float_exp(const std::vector<float>& x, const char* what) {
  std::vector<float> want(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) want[i] = math::exp(x[i]);
  for (const Form& form : every_form()) {
    if (form.isa == Isa::scalar) continue;
    const UseForm use(form);
    std::vector<float> y(x.size());
    exp_values(x.size(), x.data(), y.data());
    ASSERT_EQ(std::memcmp(y.data(), want.data(), y.size() * sizeof(float)), 0)
        << differing(y, want) << " of " << what << ", " << form.name();
  }
}

/// Finite bfloat16 of any exponent, denormal ones and zeros of both signs among them. spread: how many exponents; 0
/// all.
inline std::vector<bf16> wild_bf16(std::size_t n, std::uint64_t seed, std::uint32_t spread) {
  const Rng rng(seed);
  std::vector<bf16> values(n);
  for (std::size_t i = 0; i < n; ++i) {
    auto bits = static_cast<std::uint16_t>(rng.bits(i));
    if (spread) bits = static_cast<std::uint16_t>((bits & 0x807F) | (127 - spread / 2 + (bits >> 7) % spread) << 7);
    if ((bits & 0x7F80) == 0x7F80) bits = static_cast<std::uint16_t>(bits & 0xBFFF);
    values[i] = {bits};
  }
  return values;
}

/// rounds * 4 * 65536 sums of k products of such numbers: the vector forms must agree bit for bit.
inline void compare_wild_sums(std::size_t rounds, std::size_t k) {
  SerialExecutor serial;
  const std::size_t m = 64, n = 1024;
  for (std::size_t round = 0; round < rounds; ++round)
    for (std::uint32_t spread : {0u, 140u, 40u, 4u}) {
      // 140 exponents about 1: products reach far below the least normal number, sums do not overflow.
      const auto w = wild_bf16(n * k, 1000 * round + spread, spread),
                 x = wild_bf16(m * k, 999 * round + spread + 7, spread);
      std::vector<bf16> rows(m * bf16_stride(k));
      for (std::size_t i = 0; i < m; ++i) std::copy_n(&x[i * k], k, &rows[i * bf16_stride(k)]);
      Bf16Panels panels;
      make_panels(serial, n, k, w.data(), panels);
      std::vector<float> first;
      for (const Form& form : every_form()) {
        if (form.isa == Isa::scalar) continue;  // compared with the vector forms above; here it would take minutes
        const UseForm use(form);
        std::vector<float> y(m * n);
        bf16_product(serial, m, rows.data(), panels, y.data(), n);
        if (first.empty()) first = y;
        ASSERT_EQ(differing(y, first), 0u) << form.name() << " exponents " << spread << " round " << round;
      }
    }
}

}  // namespace lowbit::kernels::test_cases
