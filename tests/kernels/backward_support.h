#pragma once
#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include "lowbit/base/rng.h"
#include "lowbit/kernels/backward_form.h"
#include "lowbit/machine/bf16_unit.h"
#include "lowbit/machine/isa.h"

namespace lowbit::kernels::test {

/// A way to compute that this processor has: an instruction set, with its bfloat16 instructions or without.
struct Machine {
  Isa isa;
  bool bf16_instructions;
  std::string name() const {
    return std::string(isa_name(isa)) + (isa == Isa::avx512 && !bf16_instructions ? " without bfloat16" : "");
  }
};
inline std::vector<Machine> machines() {
  std::vector<Machine> all{{Isa::scalar, true}};
  if (isa_supported(Isa::avx2)) all.push_back({Isa::avx2, true});
  if (isa_supported(Isa::avx512)) all.push_back({Isa::avx512, false});
  if (cpu_features().avx512_bf16) all.push_back({Isa::avx512, true});
  return all;
}

/// Computes as `machine` while it lives.
class OnlyMachine {
 public:
  explicit OnlyMachine(const Machine& machine) : before_(active_isa()) {
    force_isa(machine.isa);
    choose_bf16_unit(machine.bf16_instructions ? Bf16Unit::on : Bf16Unit::off);
  }
  ~OnlyMachine() {
    force_isa(before_);
    choose_bf16_unit(Bf16Unit::measured);
  }
  OnlyMachine(const OnlyMachine&) = delete;
  OnlyMachine& operator=(const OnlyMachine&) = delete;

 private:
  Isa before_;
};

inline std::vector<float> normals(std::uint64_t seed, std::size_t n, double spread = 1) {
  const Rng rng(seed);
  std::vector<float> x(n);
  for (std::size_t i = 0; i < n; ++i) x[i] = static_cast<float>(spread * rng.normal(i));
  return x;
}
inline std::vector<double> normals_double(std::uint64_t seed, std::size_t n) {
  const Rng rng(seed);
  std::vector<double> x(n);
  for (std::size_t i = 0; i < n; ++i) x[i] = rng.normal(i);
  return x;
}
template <class T>
std::vector<double> widened(const std::vector<T>& x) {
  return {x.begin(), x.end()};
}
inline std::vector<float> narrowed(const std::vector<double>& x) {
  std::vector<float> y(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) y[i] = static_cast<float>(x[i]);
  return y;
}

/// |got - expected| / |expected| in the Euclidean norm.
template <class T>
double relative_error(const std::vector<T>& got, const std::vector<double>& expected) {
  double error = 0, norm = 0;
  EXPECT_EQ(got.size(), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double d = static_cast<double>(got[i]) - expected[i];
    error += d * d;
    norm += expected[i] * expected[i];
  }
  return std::sqrt(error / norm);
}

/// A matrix with other values between its rows and behind it, which must stay.
class Guarded {
 public:
  static constexpr float kGuard = -12345.5f;
  Guarded(std::size_t rows, std::size_t columns, std::size_t gap)
      : rows_(rows), columns_(columns), stride(columns + gap), memory(rows * stride + 16, kGuard) {}
  float& at(std::size_t r, std::size_t c) { return memory[r * stride + c]; }
  float* data() { return memory.data(); }
  void fill(const std::vector<float>& values) {
    for (std::size_t r = 0; r < rows_; ++r)
      for (std::size_t c = 0; c < columns_; ++c) at(r, c) = values[r * columns_ + c];
  }
  std::vector<float> values() {
    std::vector<float> out;
    for (std::size_t r = 0; r < rows_; ++r)
      for (std::size_t c = 0; c < columns_; ++c) out.push_back(at(r, c));
    return out;
  }
  bool guards_stand() {
    for (std::size_t i = 0; i < memory.size(); ++i)
      if ((i >= rows_ * stride || i % stride >= columns_) && memory[i] != kGuard) return false;
    return true;
  }

 private:
  std::size_t rows_, columns_;

 public:
  std::size_t stride;
  std::vector<float> memory;
};

}  // namespace lowbit::kernels::test
