#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "lowbit/formats/grid.h"

namespace lowbit {

/// How the linear layers of the blocks are stored and multiplied: one word, used by flags, files, tables and plots.
struct Format {
  enum class Kind {
    f32,        ///< float32 weights and activations, order (a)
    bf16,       ///< both rounded to bfloat16, order (c)
    quantized,  ///< one side coded at least
  };
  Kind kind = Kind::f32;
  const Grid* weight = nullptr;      ///< of the tables in grid.h; null: float32 weights (w16aY)
  const Grid* activation = nullptr;  ///< the same; null: float32 activations (wXa16)
  bool masked = false;               ///< bf16+2:4: the weights that survive, rounded; the rest is 0

  bool quantized() const { return kind == Kind::quantized; }
  bool weight_only() const { return quantized() && !activation; }
  /// Whether both sides are coded, on integers: products are exact integer sums.
  bool integer() const { return weight && activation && weight->integer() && activation->integer(); }
  /// Whether activations are coded but multiplied as floats: tables of levels, or float weights.
  bool decoded() const { return activation && !integer(); }
  bool pairs() const { return masked || (weight && weight->dense); }
  std::string name() const;
  friend bool operator==(const Format&, const Format&) = default;
};

/// f32, bf16, bf16+2:4, fp4, or wXaY with X in 1..8, 1.58, 16 or fp4 and Y in 1..8, 16 or fp4 (one of them not 16), and
/// +2:4 behind it for X in 1..7.
/// throws Error(usage) that lists what there is.
Format parse_format(std::string_view word);

/// The head (and the embedding, tied or not). throws Error(usage).
/// w8a8 and w4a8 are `Format`s as of a linear layer, always with the hadamard transform.
Format parse_head(std::string_view word);

/// Which gradient passes the quantizer (arXiv 2502.05003, section 3.3). From lsq on the step of a tensor's grid is
/// learned (methods.md): lsq, pact with its original's gradients, pact-code with those of the reference code;
/// lsq+ learns an offset of the inputs too, lsq+code is that with the first values of the reference code. adabin (1
/// bit): inputs as there, with gradients of their own, and weights around the mean of their row.
enum class Estimator : std::uint32_t {
  trust = 1,
  clip = 2,
  ste = 3,
  lsq = 4,
  pact = 5,
  pact_code = 6,
  lsq_plus = 7,
  lsq_plus_code = 8,
  adabin = 9
};
constexpr bool is_learned(Estimator e) { return e >= Estimator::lsq; }
/// Whether inputs are coded around a learned offset.
constexpr bool learns_offset(Estimator e) { return e >= Estimator::lsq_plus; }
/// Whether the weights' steps are learned, and not only those of their inputs.
constexpr bool learns_weight_steps(Estimator e) { return is_learned(e) && e != Estimator::adabin; }
/// What is rotated before coding. hadamard_weights: weights only, the paper's weight-only runs (wXa16 only).
enum class Transform : std::uint32_t { none = 0, hadamard = 1, hadamard_weights = 2 };
/// What the scale of a row follows: its RMS, or its largest magnitude (whose whole range is then trusted: ste). mse:
/// its RMS times the best of some factors in mean square; of weights alone, inputs beside them keep rms. learned: the
/// step is given, one for all rows; deviation: h is the RMS of what is left without the shift, whatever the grid's
/// alpha. Both follow from the estimator and are no choices of their own.
enum class ScaleRule : std::uint32_t { rms = 1, absmax = 2, learned = 3, deviation = 4, mse = 5 };
/// What is taken off a row before it is scaled and coded, and stands beside o * h in what the code means: nothing; a
/// learned offset, one for all rows; the row's mean.
enum class Shift : std::uint32_t { none = 0, learned = 1, mean = 2 };
/// Even steps, or levels placed for a Gaussian: the reference code's 20 iterations, or converged.
enum class GridShape : std::uint32_t { uniform = 1, gaussian = 2, gaussian_converged = 3 };
/// The trust rule of fp4: half of the grid's outermost interval, or the narrower one that the reference code's runs
/// had.
enum class Fp4Threshold : std::uint32_t { paper = 1, code = 2 };
/// The scale of a 2:4 row: of the whole row, or refitted to what survived.
enum class SparseScale : std::uint32_t { dense = 1, refit = 2 };
/// How scores and values are multiplied: never chosen by speed.
enum class AttentionFormat : std::uint32_t { f32 = 1, bf16 = 2 };

std::string_view name_of(Estimator estimator);
std::string_view name_of(Transform transform);
std::string_view name_of(AttentionFormat attention);
std::string_view name_of(ScaleRule rule);
std::string_view name_of(GridShape shape);
std::string_view name_of(Fp4Threshold threshold);
std::string_view name_of(SparseScale scale);
/// throw Error(usage) that lists what there is.
Estimator parse_estimator(std::string_view word);
Transform parse_transform(std::string_view word);
AttentionFormat parse_attention(std::string_view word);
ScaleRule parse_scale_rule(std::string_view word);
GridShape parse_grid_shape(std::string_view word);
Fp4Threshold parse_fp4_threshold(std::string_view word);
SparseScale parse_sparse_scale(std::string_view word);

/// Which gradients pass the quantizer, in units of a row's RMS r; factors of which |x| is compared with the product.
struct TrustRule {
  double edge = 0;        ///< an entry is trusted where |x| <= edge * r; infinity: everywhere
  double hole_begin = 0;  ///< but not where hole_begin * r < |x| <= hole_end * r
  double hole_end = 0;
  double pruned = 0;      ///< what 2:4 pruned is trusted where |x| <= pruned * r
  constexpr TrustRule(double e = 0) : edge(e) {}
};
/// How the rows of one side of a product are scaled and coded.
struct SideCoding {
  const Grid* grid = nullptr;
  TrustRule trust;
  ScaleRule scale = ScaleRule::rms;
  SparseScale sparse_scale = SparseScale::dense;  ///< of a 2:4 grid
  double step = 0;                                ///< with ScaleRule::learned; the trust rule is then in units of it
  Shift shift = Shift::none;
  double offset = 0;                              ///< with Shift::learned
  std::int64_t scale_group = 0;  ///< columns that share a scale, which divide a row's length; 0: the whole row
  /// Scales of a row of k values, each of k / slices(k) of them.
  std::int64_t slices(std::int64_t k) const { return scale_group ? k / scale_group : 1; }
};

/// The linear layers of a block, in the order of their tensors.
enum class LayerKind : std::uint32_t { q, k, v, o, gate, up, down };
inline constexpr std::array<std::string_view, 7> kLayerKinds{"q", "k", "v", "o", "gate", "up", "down"};
/// "blocks.0.down".
std::string layer_name(std::int64_t block, LayerKind kind);

/// A format of its own for some layers of the blocks.
struct LayerFormat {
  std::string
      pattern;  ///< a kind, or a name: blocks.0.down, model.layers.0.mlp.down_proj.weight; * stands for anything
  Format format;
  bool names(std::int64_t block, LayerKind kind) const;
  friend bool operator==(const LayerFormat&, const LayerFormat&) = default;
};
/// "down=w2a3,blocks.0.*=w4a4": where several name a layer, the last holds; "" has none.
/// throws Error(usage): no PATTERN=FORMAT, a kind or a format that there is not.
std::vector<LayerFormat> parse_layer_formats(std::string_view text);
std::string text_of(const std::vector<LayerFormat>& list);

/// Everything that fixes a model's arithmetic beside its weights; `quantization_config` in config.json.
struct Scheme {
  Format format;  ///< of the blocks' layers, but for those that layer_formats names
  std::vector<LayerFormat> layer_formats;
  Format head;  ///< kind f32, bf16, or quantized w8a8, w4a8
  AttentionFormat attention = AttentionFormat::f32;
  Estimator estimator = Estimator::trust;
  Transform transform = Transform::hadamard;
  double outer_trust = 0;  ///< S of the 1-bit outer rule; 0: the default, 1.30 with a rotation and 1.25 without
  ScaleRule scale = ScaleRule::rms;        ///< of the blocks' layers
  std::int64_t scale_group = 0;            ///< columns of their weights that share a scale; 0: a whole row
  GridShape grid = GridShape::uniform;     ///< of the blocks' layers
  Fp4Threshold fp4_threshold = Fp4Threshold::paper;
  SparseScale sparse_scale = SparseScale::dense;
  bool share_steps =
      false;  ///< the weights of q, k and v of a layer have one learned step, as the reference code's fused matrix

  /// The word that holds for one layer of the blocks.
  const Format& word_of(std::int64_t block, LayerKind kind) const;
  /// `word` with the grids that `grid` asks for.
  Format with_grids(const Format& word) const;
  /// with_grids(format): what layers without a format of their own have.
  Format blocks() const { return with_grids(format); }
  /// `format` and those of layer_formats, each once.
  std::vector<Format> words() const;
  /// Whether any of them codes something.
  bool quantized() const;
  /// The word for people: "w2a2", or "w2a2 with down=w2a3".
  std::string name() const;
  /// How rows on a grid of the blocks' layers are coded.
  SideCoding block_side(const Grid& side) const;
  /// The same of their weights, and of their inputs: either may have an offset.
  SideCoding weight_side(const Grid& side) const;
  SideCoding input_side(const Grid& side) const;
  /// The same of head and embedding, whose key is one of its own: scaled by their RMS.
  SideCoding head_side(const Grid& side) const;
  /// The factor of a trust mask |x| <= factor * r for one side; infinity for `ste`.
  double trust_factor(const Grid& coded) const;
  double effective_outer_trust() const;
  /// The Hadamard group for rows of K of a layer of this format under this transform, 1 for none.
  /// throws Error(input): K has no group.
  int weight_group(std::int64_t k, const Format& of) const;
  int activation_group(std::int64_t k, const Format& of) const;
  int weight_group(std::int64_t k) const { return weight_group(k, format); }
  int activation_group(std::int64_t k) const { return activation_group(k, format); }
  /// ", scale absmax" and the like for each key above that is not at its default.
  std::string variations() const;
  /// throws Error(usage) for combinations that mean nothing (hadamard-weights without a16, ...).
  void check() const;

 private:
  void check(const Format& word) const;
};

/// Defaults that follow from the format's word: head f32 and attention f32 for f32, attention bf16 for bf16.
Scheme default_scheme(const Format& format);

/// The fewest columns that may share a scale: codes, masks and stored bytes of so many fill whole words.
inline constexpr std::int64_t kLeastScaleGroup = 64;

/// The largest power of two up to 128, at least 32, that divides k. throws Error(input) that names `what` and the
/// nearest width that works.
int hadamard_group(std::int64_t k, std::string_view what = "width");

}  // namespace lowbit
