#pragma once
#include <cmath>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <vector>

#include "golden/reference_linear.h"
#include "lowbit/files/safetensors.h"
#include "support/golden.h"

// The classes of the paper's code in golden/quantizers, and how lowbit names them.
namespace lowbit::golden {

using files::SafetensorsFile;

/// One class of the paper's code as lowbit names it.
struct Quantizer {
  std::string name;  ///< as in the files
  SideCoding side;
  int group = 1;      ///< 128 with "Hadamard" in its name
  bool half = false;  ///< the result stays rotated
};

inline Quantizer quantizer(const std::string& text) {
  Quantizer out{text, {}};
  std::string name = text;
  const auto take = [&name](std::string_view prefix) {
    if (!name.starts_with(prefix)) return false;
    name.erase(0, prefix.size());
    return true;
  };
  out.half = take("Half");
  // One name of the code is misspelt.
  if (take("Hadamard") || take("Hadamaard")) out.group = 128;
  const bool fp4 = take("FP4"), pairs = take("FourEight"), gaussian = take("Gaussian");
  const bool ste = take("STE"), clip = take("Clip"), trust = take("Trust");
  int bits = 4;
  double clip_scale = 1, threshold = 0;
  const bool read =
      std::sscanf(name.c_str(), "Quantizer(bits=%d,clip_scale=%lf)", &bits, &clip_scale) >= 1 ||
      (fp4 && (std::sscanf(name.c_str(), "Quantizer(trust=%lf)", &threshold) == 1 || name == "Quantizer()"));
  if (!read || !(ste || clip || trust)) throw std::runtime_error("unknown quantizer " + text);
  const Grid* plain = find_grid(std::to_string(bits));
  Scheme scheme;
  scheme.estimator = ste ? Estimator::ste : clip ? Estimator::clip : Estimator::trust;
  scheme.outer_trust = 2;  // what the trust classes have at 1 bit
  scheme.fp4_threshold = threshold > 0 ? Fp4Threshold::paper : Fp4Threshold::code;
  out.side = scheme.block_side(fp4        ? kE2m1Grid
                               : pairs    ? *find_pairs_grid(*plain)
                               : gaussian ? kGaussianGrids[static_cast<std::size_t>(bits - 1)]
                                          : *plain);
  if (clip) out.side.trust.edge *= clip_scale;  // the outer trust of lowbit
  return out;
}

/// 2:4 at 8 bits, which lowbit does not have: a value and a zero would not fit a byte.
inline bool pairs_of_8_bits(const std::string& name) {
  return name.find("FourEight") != std::string::npos && name.find("bits=8") != std::string::npos;
}

template <class T>
std::vector<T> tensor(const SafetensorsFile& file, const std::string& name) {
  const std::vector<float> values = file.at(name).floats();
  return {values.begin(), values.end()};
}

inline SafetensorsFile fixture(const std::string& name) {
  return SafetensorsFile(test::golden_folder() / "quantizers" / (name + ".safetensors"));
}

inline constexpr std::size_t kRows = 8, kColumns = 256;

inline double tolerance(double wanted) { return 1e-5 * std::abs(wanted) + 1e-7; }

/// For values that float sums up from larger ones: seven bits of float's 24 may go in the additions of a rotation or of
/// a row of products, so the absolute part follows the largest value of the tensor's row.
template <class T>
double summed_tolerance(const std::vector<double>& wanted, std::size_t i, std::size_t columns) {
  if (std::is_same_v<T, double>) return tolerance(wanted[i]);
  double largest = 0;
  for (std::size_t j = i / columns * columns; j < i / columns * columns + columns; ++j)
    largest = std::max(largest, std::abs(wanted[j]));
  return tolerance(wanted[i]) + 1e-6 * largest;
}

}  // namespace lowbit::golden
