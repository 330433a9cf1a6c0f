#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "lowbit/formats/format.h"
#include "lowbit/model/config.h"

namespace lowbit::model {

enum class TensorRole { embedding, head, norm, q, k, v, o, gate, up, down };

/// The kind of a block's linear layer. Requires role >= q.
constexpr LayerKind kind_of(TensorRole role) {
  return static_cast<LayerKind>(static_cast<std::uint32_t>(role) - static_cast<std::uint32_t>(TensorRole::q));
}

/// One tensor of the model under its Hugging Face name.
struct TensorSpec {
  std::string name;  ///< "model.layers.0.self_attn.q_proj.weight"
  TensorRole role;
  std::int64_t layer;          ///< -1 outside the blocks
  std::int64_t rows, columns;  ///< norms: 1 row
  bool linear() const { return role >= TensorRole::q; }
  std::int64_t elements() const { return rows * columns; }
  std::vector<std::int64_t> shape() const {
    return role == TensorRole::norm ? std::vector{columns} : std::vector{rows, columns};
  }
};

/// All tensors in file order: embedding, blocks, final norm, head (absent when tied). A tensor's index is its id in
/// random streams and optimizer files.
std::vector<TensorSpec> tensors(const Config& config);

/// A learned step, one value: of the weights of a layer (X.step), or of the activations that it and the layers beside
/// it read (X.input_step), behind which stands their offset where it is learned too (X.input_offset). Empty lists where
/// the scheme learns none; those of weights are not stored in packed folders.
struct StepSpec {
  TensorSpec tensor;  ///< named so, of shape {1}
  TensorRole role;    ///< of the layer: the first of those that read an input
  bool input;
  bool offset = false;  ///< an offset, which may be 0; a step of 0 is not set yet
};
std::vector<StepSpec> step_tensors(const Config& config, const Scheme& scheme);
/// The layer by whose name the step of a role's input goes: q for q, k and v, gate for gate and up.
TensorRole input_owner(TensorRole role);
/// The same of its weights: the role itself, or q for q, k and v where they share one step.
TensorRole step_owner(TensorRole role, const Scheme& scheme);

/// How one tensor is stored, multiplied and coded.
struct TensorCoding {
  Format format;        ///< of the product: f32, bf16, quantized; norms f32
  int group = 1;        ///< Hadamard group of the weight rows
  int input_group = 1;  ///< and of the activations it meets
  SideCoding weight;    ///< how the weight rows are coded; no grid: they are not
  SideCoding input;     ///< and the activations
};
TensorCoding coding_of(const TensorSpec& spec, const Scheme& scheme);
/// Of the scales that a coded tensor is stored with: {rows}, or {rows, slices} with a scale group.
std::vector<std::int64_t> scale_shape(const TensorSpec& spec, const TensorCoding& coding);

/// Bytes of a tensor as a packed model stores it: codes (or floats), and scales, one for each `scale_group` columns of
/// a row (0: one a row).
struct StoredBytes {
  std::int64_t codes = 0, scales = 0;
  std::int64_t total() const { return codes + scales; }
};
StoredBytes stored_bytes(const TensorSpec& spec, const Format& format, std::int64_t scale_group);

/// throws Error(usage): a rule that names none of the model's layers; layers that read one input but not the same
/// codes.
void check_layer_formats(const Config& config, const Scheme& scheme);
/// throws Error(usage): a layer with coded weights whose rows --scale-group does not divide, or whose rotation it cuts.
void check_scale_group(const Config& config, const Scheme& scheme);

}  // namespace lowbit::model
