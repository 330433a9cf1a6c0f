#include <bit>
#include <cstring>
#include <utility>

#include "lowbit/base/math.h"
#include "lowbit/formats/bf16.h"
#include "lowbit/kernels/backward_form.h"

// Four lanes in plain C++: what every processor has, and the compiler makes of it what it can.
namespace lowbit::kernels {
namespace {

struct PlainLanes {
  static constexpr std::size_t kLanes = 4, kTileRows = 4, kTileVectors = 2;
  struct V {
    float x[kLanes];
  };

  template <class F>
  static V each(F&& f) {
    V v;
    for (std::size_t i = 0; i < kLanes; ++i) v.x[i] = f(i);
    return v;
  }
  static std::size_t clamped(std::size_t n) { return n < kLanes ? n : kLanes; }

  static V zero() { return V{}; }
  static V set(float value) {
    return each([&](std::size_t) { return value; });
  }
  static V load(const void* from) {
    V v;
    std::memcpy(&v, from, sizeof(v));
    return v;
  }
  static V load_part(const float* from, std::size_t n) {
    V v{};
    std::memcpy(&v, from, clamped(n) * sizeof(float));
    return v;
  }
  static void store(void* to, const V& v) { std::memcpy(to, &v, sizeof(v)); }
  static void stream(float* to, const V& v) { store(to, v); }
  static void fence() {}
  static void store_part(float* to, const V& v, std::size_t n) { std::memcpy(to, &v, clamped(n) * sizeof(float)); }
  static V add(const V& a, const V& b) {
    return each([&](std::size_t i) { return a.x[i] + b.x[i]; });
  }
  static V sub(const V& a, const V& b) {
    return each([&](std::size_t i) { return a.x[i] - b.x[i]; });
  }
  static V mul(const V& a, const V& b) {
    return each([&](std::size_t i) { return a.x[i] * b.x[i]; });
  }
  static V divide(const V& a, const V& b) {
    return each([&](std::size_t i) { return a.x[i] / b.x[i]; });
  }
  // Two roundings: without an instruction for it, fma would be a call into the C library.
  static V fma(const V& a, const V& b, const V& c) {
    return each([&](std::size_t i) { return a.x[i] * b.x[i] + c.x[i]; });
  }
  static float sum(const V& v) { return (v.x[0] + v.x[2]) + (v.x[1] + v.x[3]); }
  static V exp(const V& v) {
    return each([&](std::size_t i) { return math::exp(v.x[i]); });
  }
  static V codes(const std::uint8_t* from) {
    return each([&](std::size_t i) { return static_cast<float>(from[i]); });
  }
  static V codes_part(const std::uint8_t* from, std::size_t n) {
    return each([&](std::size_t i) { return i < n ? static_cast<float>(from[i]) : 0.0f; });
  }
  static V first(const V& v, std::size_t n) {
    return each([&](std::size_t i) { return i < n ? v.x[i] : 0.0f; });
  }
  static V round(const V& v) {
    return each([&](std::size_t i) { return to_float(to_bf16(v.x[i])); });
  }
  static void transpose(V* rows) {
    for (std::size_t i = 0; i < kLanes; ++i)
      for (std::size_t j = 0; j < i; ++j) std::swap(rows[i].x[j], rows[j].x[i]);
  }
  static void prefetch(const float*) {}
  static V broadcast_word(const Word* from) { return set(std::bit_cast<float>(*from)); }
  static V dot(const V& sum, const V& a, const V& b) { return fma(a, b, sum); }
  static double sum_of_squares(std::size_t n, const float* x) {
    double part[8] = {};
    std::size_t i = 0;
    for (; i + 8 <= n; i += 8)
      for (std::size_t j = 0; j < 8; ++j) part[j] += static_cast<double>(x[i + j]) * static_cast<double>(x[i + j]);
    for (; i < n; ++i) part[i % 8] += static_cast<double>(x[i]) * static_cast<double>(x[i]);
    return ((part[0] + part[1]) + (part[2] + part[3])) + ((part[4] + part[5]) + (part[6] + part[7]));
  }
};

}  // namespace

#include "lowbit/kernels/backward_form-inl.h"

namespace forms {
const BackwardForm plain_f32 = Form<PlainLanes, WordKind::f32>::make("plain float32");
const BackwardForm plain_bf16 = Form<PlainLanes, WordKind::rounded>::make("plain float32 on bfloat16 values");
}  // namespace forms
}  // namespace lowbit::kernels
