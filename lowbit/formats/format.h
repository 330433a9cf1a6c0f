#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "lowbit/formats/grid.h"

namespace lowbit {

/// How the linear layers of the blocks are stored and multiplied: one word, used by flags, files, tables and plots.
struct Format {
  enum class Kind {
    f32,        ///< float32 weights and activations, order (a)
    bf16,       ///< both rounded to bfloat16, order (c)
    quantized,  ///< coded weights; activations coded, or float32 when `activation` is null (a16)
  };
  Kind kind = Kind::f32;
  const Grid* weight = nullptr;      ///< of kGrids; set when quantized
  const Grid* activation = nullptr;  ///< of kGrids; null: float32 activations (wXa16)

  bool quantized() const { return kind == Kind::quantized; }
  bool weight_only() const { return quantized() && !activation; }
  std::string name() const;
  friend bool operator==(const Format&, const Format&) = default;
};

/// f32, bf16, or wXaY with X in 1..8 or 1.58 and Y in 1..8 or 16. throws Error(usage) that lists what there is.
Format parse_format(std::string_view word);

/// The head (and the embedding, tied or not). throws Error(usage).
/// w8a8 and w4a8 are `Format`s as of a linear layer, always with the hadamard transform.
Format parse_head(std::string_view word);

/// Which gradient passes the quantizer (QuEST section 3.3; quest.md section 2).
enum class Estimator : std::uint32_t { trust = 1, clip = 2, ste = 3 };
/// What is rotated before coding. hadamard_weights: weights only, the paper's weight-only runs (wXa16 only).
enum class Transform : std::uint32_t { none = 0, hadamard = 1, hadamard_weights = 2 };
/// How scores and values are multiplied: never chosen by speed.
enum class AttentionFormat : std::uint32_t { f32 = 1, bf16 = 2 };

std::string_view name_of(Estimator estimator);
std::string_view name_of(Transform transform);
std::string_view name_of(AttentionFormat attention);
/// throw Error(usage) that lists what there is.
Estimator parse_estimator(std::string_view word);
Transform parse_transform(std::string_view word);
AttentionFormat parse_attention(std::string_view word);

/// Everything that fixes a model's arithmetic beside its weights; `quantization_config` in config.json.
struct Scheme {
  Format format;
  Format head;  ///< kind f32, bf16, or quantized w8a8, w4a8
  AttentionFormat attention = AttentionFormat::f32;
  Estimator estimator = Estimator::trust;
  Transform transform = Transform::hadamard;
  double outer_trust = 0;  ///< S of the 1-bit outer rule; 0: the default, 1.30 with a rotation and 1.25 without

  /// The factor c * alpha of a trust mask |x| <= factor * r for one side; infinity for `ste`.
  double trust_factor(const Grid& grid) const;
  double effective_outer_trust() const;
  /// The Hadamard group for rows of K under this transform, 1 for none. throws Error(input): K has no group.
  int weight_group(std::int64_t k) const;
  int activation_group(std::int64_t k) const;
  /// throws Error(usage) for combinations that mean nothing (hadamard-weights without a16, ...).
  void check() const;
};

/// Defaults that follow from the format's word: head f32 and attention f32 for f32, attention bf16 for bf16.
Scheme default_scheme(const Format& format);

/// The largest power of two up to 128, at least 32, that divides k. throws Error(input) that names `what` and the nearest width that works.
int hadamard_group(std::int64_t k, std::string_view what = "width");

}  // namespace lowbit
