#pragma once
#include <gtest/gtest.h>

#include <cctype>
#include <cmath>
#include <string>
#include <vector>

namespace lowbit::golden {

/// The largest value seen; a NaN stays.
struct Worst {
  double value = 0;
  void see(double x) {
    if (!(x <= value) && !std::isnan(value)) value = x;
  }
};

inline double relative(double found, double wanted) { return std::abs(found - wanted) / std::abs(wanted); }

template <class T>
double l2(const std::vector<T>& x) {
  double sum = 0;
  for (const T value : x) sum += static_cast<double>(value) * static_cast<double>(value);
  return std::sqrt(sum);
}

/// |found - wanted| / |wanted| of whole tensors.
template <class T, class U>
double distance(const std::vector<T>& found, const std::vector<U>& wanted) {
  std::vector<double> difference(wanted.size());
  for (std::size_t i = 0; i < wanted.size(); ++i)
    difference[i] = static_cast<double>(found[i]) - static_cast<double>(wanted[i]);
  return l2(difference) / l2(wanted);
}

/// "w4a4-ste@tie0" as a test's name.
inline std::string golden_test_name(const testing::TestParamInfo<std::string>& info) {
  std::string out = info.param;
  for (char& c : out)
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  return out;
}

}  // namespace lowbit::golden
