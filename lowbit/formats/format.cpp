#include "lowbit/formats/format.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "lowbit/base/error.h"
#include "lowbit/formats/words.h"

namespace lowbit {
namespace {

constexpr std::string_view kKnown =
    "f32, bf16, fp4, or wXaY with X one of 1 to 8, 1.58, 16, fp4 and Y one of 1 to 8, 16, fp4 (such as w4a4, w1.58a8, "
    "w4a16, "
    "w16a4, wfp4a8); append +2:4 to bf16, or to wXaY with X from 1 to 7, for 2:4 sparsity (w4a4+2:4)";
constexpr std::string_view kPairs = "+2:4";
constexpr std::array<std::string_view, 4> kHeads{"bf16", "w8a8", "w4a8", "f32"};

template <class Value, std::size_t N>
using Names = std::array<std::pair<std::string_view, Value>, N>;

constexpr Names<Estimator, 9> kEstimators{{{"trust", Estimator::trust},
                                           {"clip", Estimator::clip},
                                           {"ste", Estimator::ste},
                                           {"lsq", Estimator::lsq},
                                           {"pact", Estimator::pact},
                                           {"pact-code", Estimator::pact_code},
                                           {"lsq+", Estimator::lsq_plus},
                                           {"lsq+code", Estimator::lsq_plus_code},
                                           {"adabin", Estimator::adabin}}};
constexpr Names<Transform, 3> kTransforms{{{"hadamard", Transform::hadamard},
                                           {"hadamard-weights", Transform::hadamard_weights},
                                           {"none", Transform::none}}};
constexpr Names<AttentionFormat, 2> kAttentions{{{"f32", AttentionFormat::f32}, {"bf16", AttentionFormat::bf16}}};

constexpr Names<ScaleRule, 3> kScaleRules{
    {{"rms", ScaleRule::rms}, {"absmax", ScaleRule::absmax}, {"mse", ScaleRule::mse}}};
constexpr Names<GridShape, 3> kGridShapes{{{"uniform", GridShape::uniform},
                                           {"gaussian", GridShape::gaussian},
                                           {"gaussian-converged", GridShape::gaussian_converged}}};
constexpr Names<Fp4Threshold, 2> kFp4Thresholds{{{"paper", Fp4Threshold::paper}, {"code", Fp4Threshold::code}}};
constexpr Names<SparseScale, 2> kSparseScales{{{"dense", SparseScale::dense}, {"refit", SparseScale::refit}}};

/// By the word that a format has for it.
const Grid* find_side(std::string_view name) { return name == kE2m1Grid.name ? &kE2m1Grid : find_grid(name); }

template <class Value, std::size_t N>
std::string_view word_of(const Names<Value, N>& names, Value value) {
  for (const auto& [name, v] : names)
    if (v == value) return name;
  return "?";
}

template <class Value, std::size_t N>
std::vector<std::string> words_of(const Names<Value, N>& names) {
  std::vector<std::string> words;
  for (const auto& name : names) words.emplace_back(name.first);
  return words;
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
  if (kind == Kind::bf16) return masked ? "bf16+2:4" : "bf16";
  if (weight == &kE2m1Grid && activation == &kE2m1Grid) return "fp4";
  const Grid* side = pairs() ? weight->dense : weight;
  return fmt::format("w{}a{}{}", side ? side->name : "16", activation ? activation->name : "16", pairs() ? kPairs : "");
}

Format parse_format(std::string_view word) {
  if (word == "f32") return {Format::Kind::f32};
  if (word == "bf16") return {Format::Kind::bf16};
  if (word == "bf16+2:4") return {Format::Kind::bf16, nullptr, nullptr, true};
  if (word == kE2m1Grid.name) return {Format::Kind::quantized, &kE2m1Grid, &kE2m1Grid};
  const bool pairs = word.ends_with(kPairs);
  const std::string_view sides = pairs ? word.substr(0, word.size() - kPairs.size()) : word;
  const std::size_t a = sides.find('a');
  if (sides.starts_with('w') && a != std::string_view::npos) {
    const std::string_view bits = sides.substr(a + 1);
    const Grid* weight = find_side(sides.substr(1, a - 1));
    const Grid* activation = find_side(bits);
    const bool ternary = activation && activation->levels == 3;
    const bool activation_known = bits == "16" || (activation && !ternary);
    if (pairs && weight) weight = find_pairs_grid(*weight);
    const bool float_weight = sides.substr(1, a - 1) == "16" && !pairs && activation;
    if ((weight || float_weight) && activation_known) return {Format::Kind::quantized, weight, activation};
  }
  fail_usage("unknown format '{}'; choose {}", word, kKnown);
}

Format parse_head(std::string_view word) {
  for (const std::string_view known : kHeads)
    if (word == known) return parse_format(word);
  fail_usage("unknown head format '{}'; choose bf16, w8a8, w4a8 or f32", word);
}

std::vector<std::string> head_words() { return {kHeads.begin(), kHeads.end()}; }
std::vector<std::string> attention_words() { return words_of(kAttentions); }
std::vector<std::string> estimator_words() { return words_of(kEstimators); }
std::vector<std::string> transform_words() { return words_of(kTransforms); }
std::vector<std::string> scale_words() { return words_of(kScaleRules); }
std::vector<std::string> grid_words() { return words_of(kGridShapes); }
std::vector<std::string> fp4_threshold_words() { return words_of(kFp4Thresholds); }
std::vector<std::string> sparse_scale_words() { return words_of(kSparseScales); }
std::string format_words() { return std::string(kKnown); }

std::string_view name_of(Estimator e) { return word_of(kEstimators, e); }
std::string_view name_of(Transform t) { return word_of(kTransforms, t); }
std::string_view name_of(AttentionFormat a) { return word_of(kAttentions, a); }
Estimator parse_estimator(std::string_view word) { return value_of(kEstimators, word, "estimator"); }
Transform parse_transform(std::string_view word) { return value_of(kTransforms, word, "transform"); }
AttentionFormat parse_attention(std::string_view word) { return value_of(kAttentions, word, "attention format"); }
std::string_view name_of(ScaleRule r) { return word_of(kScaleRules, r); }
std::string_view name_of(GridShape g) { return word_of(kGridShapes, g); }
std::string_view name_of(Fp4Threshold t) { return word_of(kFp4Thresholds, t); }
std::string_view name_of(SparseScale s) { return word_of(kSparseScales, s); }
ScaleRule parse_scale_rule(std::string_view word) { return value_of(kScaleRules, word, "scale"); }
GridShape parse_grid_shape(std::string_view word) { return value_of(kGridShapes, word, "grid"); }
Fp4Threshold parse_fp4_threshold(std::string_view word) { return value_of(kFp4Thresholds, word, "fp4 threshold"); }
SparseScale parse_sparse_scale(std::string_view word) { return value_of(kSparseScales, word, "sparse scale"); }

double Scheme::effective_outer_trust() const {
  if (outer_trust > 0) return outer_trust;
  return transform == Transform::none ? 1.25 : 1.30;
}

double Scheme::trust_factor(const Grid& coded) const {
  if (estimator == Estimator::ste) return std::numeric_limits<double>::infinity();
  const Grid& side = coded.dense ? *coded.dense : coded;
  if (estimator == Estimator::clip) return side.extent * side.alpha;
  return (side.levels == 2 ? effective_outer_trust() * side.extent : side.trust_edge) * side.alpha;
}

SideCoding Scheme::head_side(const Grid& side) const {
  SideCoding coding;
  coding.grid = &side;
  coding.trust = trust_factor(side);
  return coding;
}

SideCoding Scheme::block_side(const Grid& side) const {
  SideCoding coding = head_side(side);
  coding.scale = scale;
  if (is_learned(estimator)) {
    // Gradients pass what is not clamped; under the reference code's PACT none does.
    coding.scale = ScaleRule::learned;
    coding.trust = estimator == Estimator::pact_code ? -1
                   : estimator == Estimator::adabin  ? std::numeric_limits<double>::infinity()
                                                     : side.zero_is_level ? side.levels / 2 : (side.levels - 1) / 2.0;
    return coding;
  }
  if (side.cells == Cells::e2m1 && estimator == Estimator::trust && fp4_threshold == Fp4Threshold::code) {
    // |xq - x| <= T r where the outermost interval, from 8 h to 12 h, is wider than 2 T.
    coding.trust.edge = 6 * side.alpha + kE2m1TrustOfCode;
    coding.trust.hole_begin = 4 * side.alpha + kE2m1TrustOfCode;
    coding.trust.hole_end = 6 * side.alpha - kE2m1TrustOfCode;
  }
  if (side.dense) {
    coding.sparse_scale = sparse_scale;
    // |0 - x| <= T r for what was pruned; clip and ste do not look at what became of an entry.
    coding.trust.pruned = estimator == Estimator::trust ? side.alpha / (side.dense->levels - 1) : coding.trust.edge;
  }
  return coding;
}

SideCoding Scheme::weight_side(const Grid& side) const {
  SideCoding coding = block_side(side);
  if (estimator == Estimator::adabin) {
    coding.scale = ScaleRule::deviation;
    coding.shift = Shift::mean;
  }
  coding.scale_group = scale_group;
  return coding;
}

SideCoding Scheme::input_side(const Grid& side) const {
  SideCoding coding = block_side(side);
  if (coding.scale == ScaleRule::mse) coding.scale = ScaleRule::rms;
  if (learns_offset(estimator)) coding.shift = Shift::learned;
  return coding;
}

Format Scheme::with_grids(const Format& word) const {
  if (grid == GridShape::uniform || !word.quantized()) return word;
  const auto& table = grid == GridShape::gaussian ? kGaussianGrids : kConvergedGrids;
  const auto of = [&](const Grid* side) -> const Grid* {
    for (const Grid& row : table)
      if (side && row.name == side->name) return &row;
    return nullptr;
  };
  return {word.kind, of(word.weight), of(word.activation)};
}

int Scheme::weight_group(std::int64_t k, const Format& of) const {
  return !of.quantized() || transform == Transform::none ? 1 : hadamard_group(k);
}

int Scheme::activation_group(std::int64_t k, const Format& of) const {
  return !of.quantized() || transform != Transform::hadamard ? 1 : hadamard_group(k);
}

std::string Scheme::variations() const {
  const Scheme usual;
  std::string text;
  const auto add = [&](std::string_view key, auto value, auto default_value) {
    if (value != default_value) text += fmt::format(", {} {}", key, name_of(value));
  };
  add("scale", scale, usual.scale);
  if (scale_group != usual.scale_group) text += fmt::format(", scale group {}", scale_group);
  add("grid", grid, usual.grid);
  add("fp4 threshold", fp4_threshold, usual.fp4_threshold);
  add("sparse scale", sparse_scale, usual.sparse_scale);
  if (share_steps) text += ", steps shared by q, k and v";
  return text;
}

void Scheme::check() const {
  const std::vector<Format> all = words();
  for (const Format& word : all) {
    if (all.size() > 1 && (word.kind == Format::Kind::f32 || word.masked))
      fail_usage("--layer-formats cannot mix {} with {}; bf16 and coded formats go together", word.name(),
                 all[word == all[0] ? 1 : 0].name());
    // Beside layers that are coded, what is asked of codes says nothing of those that are not.
    if (all.size() == 1 || word.quantized() || !quantized()) check(word);
  }
  const auto any = [&](auto&& has) { return std::any_of(all.begin(), all.end(), has); };
  const auto is_e2m1 = [](const Grid* side) { return side && side->cells == Cells::e2m1; };
  if (fp4_threshold == Fp4Threshold::code &&
      !any([&](const Format& f) { return is_e2m1(f.weight) || is_e2m1(f.activation); }))
    fail_usage("--fp4-threshold code is a rule of fp4; --format {} has none", format.name());
  if (sparse_scale == SparseScale::refit && !any([](const Format& f) { return f.weight && f.weight->dense; }))
    fail_usage("--sparse-scale refit is a rule of wXaY+2:4; --format {} has no such scale", format.name());
  if (share_steps && !learns_weight_steps(estimator))
    fail_usage("--share-steps shares the learned steps of q, k and v; --estimator {} learns none", name_of(estimator));
  if (scale_group != 0) {
    if (scale_group < kLeastScaleGroup || (scale_group & (scale_group - 1)) != 0)
      fail_usage("--scale-group must be a power of two from {} on, not {}; leave it out for one scale a row",
                 kLeastScaleGroup, scale_group);
    if (!any([](const Format& f) { return f.weight; }))
      fail_usage("--scale-group divides the rows of coded weights, which --format {} does not have", format.name());
    if (is_learned(estimator))
      fail_usage("--estimator {} has one step or offset a row or matrix: leave --scale-group out", name_of(estimator));
  }
  if (!(outer_trust >= 0) || outer_trust > 100) fail_usage("--outer-trust must lie in (0, 100], not {}", outer_trust);
}

void Scheme::check(const Format& word) const {
  if (transform == Transform::hadamard_weights && !word.weight_only())
    fail_usage(
        "transform hadamard-weights leaves activations unrotated, which only wXa16 formats can; {} needs hadamard or "
        "none",
        word.name());
  if (scale == ScaleRule::absmax && estimator != Estimator::ste)
    fail_usage(
        "--scale absmax leaves nothing outside of the grid, so every gradient passes: it goes with --estimator ste, "
        "not {}",
        name_of(estimator));
  if (scale == ScaleRule::mse && !word.weight)
    fail_usage("--scale mse chooses the scales of coded weights, which --format {} does not have", word.name());
  if (is_learned(estimator)) {
    const auto plain = [](const Grid* side) { return !side || side->plain(); };
    if (!word.weight || !plain(word.weight) || !plain(word.activation))
      fail_usage("--estimator {} learns the steps of weights on uniform grids; --format {} has none",
                 name_of(estimator), word.name());
    if (estimator == Estimator::adabin &&
        (word.weight->levels != 2 || (word.activation && word.activation->levels != 2)))
      fail_usage("--estimator adabin has two values a side, which --format w1a1 and w1a16 ask for; {} does not",
                 word.name());
    if (scale != ScaleRule::rms || grid != GridShape::uniform)
      fail_usage("--estimator {} learns its scale: leave --scale and --grid out", name_of(estimator));
  }
  if (grid == GridShape::uniform) return;
  const Format coded = with_grids(word);
  if (!word.quantized() || (word.weight && !coded.weight) || (word.activation && !coded.activation))
    fail_usage("--grid {} has tables for 1 to 4 bits without +2:4, which --format {} does not ask for", name_of(grid),
               word.name());
  if (scale == ScaleRule::absmax)
    fail_usage("--grid {} places levels in units of a row's RMS; --scale absmax needs --grid uniform", name_of(grid));
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
  fail_input("{} {} has no Hadamard group (it must be a multiple of 32; 128 is best); the nearest that works is {}",
             what, k, below > 0 && k - below <= above - k ? below : above);
}

}  // namespace lowbit
