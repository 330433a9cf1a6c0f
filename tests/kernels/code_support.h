#pragma once
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "lowbit/base/executor.h"
#include "lowbit/base/rng.h"
#include "lowbit/formats/grid.h"
#include "lowbit/kernels/code_rows.h"
#include "lowbit/machine/isa.h"

// What the tests of coded rows and of their products share.
namespace lowbit::kernels::test {

/// Forces an instruction set, and puts back what was in use.
class ForcedIsa {
 public:
  explicit ForcedIsa(Isa isa) { force_isa(isa); }
  ~ForcedIsa() { force_isa(before_); }
  ForcedIsa(const ForcedIsa&) = delete;
  ForcedIsa& operator=(const ForcedIsa&) = delete;

 private:
  Isa before_ = active_isa();
};

inline std::vector<Isa> supported_isas() {
  std::vector<Isa> isas;
  for (const Isa isa : {Isa::scalar, Isa::avx2, Isa::avx512})
    if (isa_supported(isa)) isas.push_back(isa);
  return isas;
}

/// Those whose products are sums of integers: the tables of grid.h but for levels placed for a Gaussian.
inline std::vector<Grid> integer_grids() {
  std::vector<Grid> grids;
  for (const Grid* grid : every_grid())
    if (grid->integer()) grids.push_back(*grid);
  return grids;
}

/// Equal bits, signed zeros too; of NaN only that both are (which one comes out is not the processor's promise).
inline bool same(float a, float b) {
  return std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b) || (std::isnan(a) && std::isnan(b));
}

/// n values between two zones that nobody may write; `intact` says whether all of both still stand.
template <class T>
class Guarded {
 public:
  explicit Guarded(std::size_t n) : memory_(n + 2 * kZone) {
    std::memset(memory_.data(), kFill, memory_.size() * sizeof(T));
  }
  T* data() { return memory_.data() + kZone; }
  T& operator[](std::size_t i) { return data()[i]; }
  std::size_t size() const { return memory_.size() - 2 * kZone; }
  bool untouched(std::size_t i) const {
    T fill;
    std::memset(&fill, kFill, sizeof(T));
    return std::memcmp(&fill, memory_.data() + kZone + i, sizeof(T)) == 0;
  }
  bool intact() const {
    for (std::size_t i = 0; i < kZone; ++i)
      if (!untouched(i - kZone) || !untouched(size() + i)) return false;
    return true;
  }

 private:
  static constexpr std::size_t kZone = 64;
  static constexpr int kFill = 0xA5;
  std::vector<T> memory_;
};

/// Coded rows with the memory they lie in.
struct OwnedRows {
  Guarded<std::uint8_t> codes;
  Guarded<float> scale;
  Guarded<std::int32_t> sum;
  Guarded<std::uint64_t> mask;
  bool with_mask;

  OwnedRows(std::size_t rows, std::size_t k, bool masked = true)
      : codes(rows * code_stride(k)), scale(rows), sum(rows), mask(rows * mask_words(k)), with_mask(masked) {}
  CodedRows view() { return {codes.data(), scale.data(), sum.data(), with_mask ? mask.data() : nullptr}; }
  bool intact() const { return codes.intact() && scale.intact() && sum.intact() && mask.intact(); }
};

/// Rows of one kind of content: what a row may meet.
enum class Content {
  normal,
  outlier,
  zeros,
  negative_zeros,
  denormals,
  mixed_tiny,
  huge,
  one_infinity,
  one_nan,
  edges,
  last
};

inline std::string content_name(Content content) {
  constexpr const char* kNames[] = {"normal",          "outlier", "zeros",        "negative zeros", "denormals",
                                    "normal and tiny", "huge",    "one infinity", "one NaN",        "small integers"};
  return kNames[static_cast<int>(content)];
}

inline void fill_row(Content content, const Rng& rng, std::uint64_t begin, float* x, std::size_t k) {
  for (std::size_t i = 0; i < k; ++i) {
    const auto z = static_cast<float>(rng.normal(begin + i));
    const bool odd = rng.bits(begin + i) >> 17 & 1;
    switch (content) {
      case Content::zeros:
        x[i] = 0.0f;
        break;
      case Content::negative_zeros:
        x[i] = odd ? -0.0f : 0.0f;
        break;
      case Content::denormals:
        x[i] = z * 1e-39f;
        break;
      case Content::mixed_tiny:
        x[i] = odd ? z : std::ldexp(z, -130);
        break;
      case Content::huge:
        x[i] = z * 1e25f;
        break;
      case Content::edges:
        x[i] = std::round(2 * z);
        break;
      default:
        x[i] = z;
        break;
    }
  }
  const std::size_t at = rng.below(begin, k);
  if (content == Content::outlier) x[at] = 50.0f;
  if (content == Content::one_infinity) x[at] = -INFINITY;
  if (content == Content::one_nan) x[at] = NAN;
}

}  // namespace lowbit::kernels::test
