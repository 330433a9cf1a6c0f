#include "lowbit/formats/format.h"

#include <cmath>
#include <limits>

#include "lowbit/base/error.h"

namespace lowbit {
namespace {

constexpr std::string_view kKnown = "f32, bf16, or wXaY with X in 1..8 or 1.58 and Y in 1..8 or 16 (w4a4, w1.58a8, w4a16)";

template <class Value, std::size_t N>
using Names = std::array<std::pair<std::string_view, Value>, N>;

constexpr Names<Estimator, 3> kEstimators{{{"trust", Estimator::trust}, {"clip", Estimator::clip}, {"ste", Estimator::ste}}};
constexpr Names<Transform, 3> kTransforms{{{"hadamard", Transform::hadamard},
                                           {"hadamard-weights", Transform::hadamard_weights},
                                           {"none", Transform::none}}};
constexpr Names<AttentionFormat, 2> kAttentions{{{"f32", AttentionFormat::f32}, {"bf16", AttentionFormat::bf16}}};

template <class Value, std::size_t N>
std::string_view word_of(const Names<Value, N>& names, Value value) {
  for (const auto& [name, v] : names)
    if (v == value) return name;
  return "?";
}

template <class Value, std::size_t N>
Value value_of(const Names<Value, N>& names, std::string_view word, std::string_view what) {
  std::string known;
  for (const auto& [name, v] : names) {
    if (name == word) return v;
    known += (known.empty() ? "" : ", ") + std::string(name);
  }
  fail_usage("unknown {} '{}'; choose {}", what, word, known);
}

}  // namespace

std::string Format::name() const {
  if (kind == Kind::f32) return "f32";
  if (kind == Kind::bf16) return "bf16";
  return fmt::format("w{}a{}", weight->name, activation ? activation->name : "16");
}

Format parse_format(std::string_view word) {
  if (word == "f32") return {Format::Kind::f32};
  if (word == "bf16") return {Format::Kind::bf16};
  if (word.starts_with('w')) {
    const std::size_t a = word.find('a');
    if (a != std::string_view::npos) {
      const std::string_view bits = word.substr(a + 1);
      const Grid* weight = find_grid(word.substr(1, a - 1));
      const Grid* activation = find_grid(bits);
      const bool activation_known = bits == "16" || (activation && !activation->zero_is_level);
      if (weight && activation_known) return {Format::Kind::quantized, weight, activation};
    }
  }
  fail_usage("unknown format '{}'; choose {}", word, kKnown);
}

Format parse_head(std::string_view word) {
  for (std::string_view known : {"bf16", "w8a8", "w4a8", "f32"})
    if (word == known) return parse_format(word);
  fail_usage("unknown head format '{}'; choose bf16, w8a8, w4a8 or f32", word);
}

std::string_view name_of(Estimator e) { return word_of(kEstimators, e); }
std::string_view name_of(Transform t) { return word_of(kTransforms, t); }
std::string_view name_of(AttentionFormat a) { return word_of(kAttentions, a); }
Estimator parse_estimator(std::string_view word) { return value_of(kEstimators, word, "estimator"); }
Transform parse_transform(std::string_view word) { return value_of(kTransforms, word, "transform"); }
AttentionFormat parse_attention(std::string_view word) { return value_of(kAttentions, word, "attention format"); }

double Scheme::effective_outer_trust() const {
  if (outer_trust > 0) return outer_trust;
  return transform == Transform::none ? 1.25 : 1.30;
}

double Scheme::trust_factor(const Grid& grid) const {
  if (estimator == Estimator::ste) return std::numeric_limits<double>::infinity();
  if (estimator == Estimator::clip) return grid.alpha;
  return (grid.levels == 2 ? effective_outer_trust() : grid.trust_edge) * grid.alpha;
}

int Scheme::weight_group(std::int64_t k) const {
  return !format.quantized() || transform == Transform::none ? 1 : hadamard_group(k);
}

int Scheme::activation_group(std::int64_t k) const {
  return !format.quantized() || transform != Transform::hadamard ? 1 : hadamard_group(k);
}

void Scheme::check() const {
  if (transform == Transform::hadamard_weights && !format.weight_only())
    fail_usage("transform hadamard-weights leaves activations unrotated, which only wXa16 formats can; {} needs hadamard or none",
               format.name());
  if (!(outer_trust >= 0) || outer_trust > 100) fail_usage("--outer-trust must lie in (0, 100], not {}", outer_trust);
}

Scheme default_scheme(const Format& format) {
  Scheme scheme;
  scheme.format = format;
  scheme.head = {format.kind == Format::Kind::f32 ? Format::Kind::f32 : Format::Kind::bf16};
  scheme.attention = format.kind == Format::Kind::bf16 ? AttentionFormat::bf16 : AttentionFormat::f32;
  return scheme;
}

int hadamard_group(std::int64_t k, std::string_view what) {
  for (int group = 128; group >= 32; group /= 2)
    if (k > 0 && k % group == 0) return group;
  const std::int64_t below = k / 32 * 32, above = below + 32;
  fail_input("{} {} has no Hadamard group (it must be a multiple of 32; 128 is best); the nearest that works is {}", what, k,
             below > 0 && k - below <= above - k ? below : above);
}

}  // namespace lowbit
