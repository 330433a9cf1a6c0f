#pragma once
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "lowbit/base/executor.h"
#include "lowbit/base/rng.h"
#include "lowbit/machine/bf16_unit.h"
#include "lowbit/machine/isa.h"

namespace lowbit::test {

/// A way in which the float kernels can run here.
struct Form {
  Isa isa;
  bool bf16_instructions;
  std::string name() const {
    return std::string(isa_name(isa)) + (isa == Isa::avx512 && !bf16_instructions ? " without bf16 instructions" : "");
  }
};

inline std::vector<Form> every_form() {
  std::vector<Form> forms;
  for (Isa isa : {Isa::scalar, Isa::avx2, Isa::avx512})
    if (isa_supported(isa)) forms.push_back({isa, true});
  if (cpu_features().avx512_bf16) forms.push_back({Isa::avx512, false});
  return forms;
}

/// While it lives, kernels run in this form.
class UseForm {
 public:
  explicit UseForm(const Form& form) : before_(active_isa()) {
    force_isa(form.isa);
    choose_bf16_unit(form.bf16_instructions ? Bf16Unit::on : Bf16Unit::off);
  }
  ~UseForm() {
    force_isa(before_);
    choose_bf16_unit(Bf16Unit::measured);
  }
  UseForm(const UseForm&) = delete;
  UseForm& operator=(const UseForm&) = delete;

 private:
  Isa before_;
};

/// n values from N(0, scale).
inline std::vector<float> normal_floats(std::size_t n, std::uint64_t seed, double scale = 1) {
  const Rng rng(seed);
  std::vector<float> values(n);
  for (std::size_t i = 0; i < n; ++i) values[i] = static_cast<float>(rng.normal(i) * scale);
  return values;
}

/// Floats between two guard zones.
class Guarded {
 public:
  explicit Guarded(std::size_t n, float fill = kMark) : values_(n + 2 * kZone, kMark), n_(n) {
    for (std::size_t i = 0; i < n; ++i) data()[i] = fill;
  }
  static constexpr float kMark = -12345.5f;
  float* data() { return values_.data() + kZone; }
  std::vector<float> inside() { return {data(), data() + n_}; }
  /// Nothing before and behind was written.
  bool whole() const {
    for (std::size_t i = 0; i < kZone; ++i)
      if (values_[i] != kMark || values_[n_ + kZone + i] != kMark) return false;
    return true;
  }

 private:
  static constexpr std::size_t kZone = 32;
  std::vector<float> values_;
  std::size_t n_;
};

/// How many values differ in a bit; any NaN equals any other.
template <class T>
std::size_t differing(const std::vector<T>& a, const std::vector<T>& b) {
  if (a.size() != b.size()) return std::max(a.size(), b.size());
  std::size_t count = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    count += std::memcmp(&a[i], &b[i], sizeof(T)) != 0 && !(std::isnan(a[i]) && std::isnan(b[i]));
  return count;
}

}  // namespace lowbit::test
