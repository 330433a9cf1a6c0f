#pragma once
#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lowbit/files/json.h"
#include "lowbit/formats/format.h"
#include "lowbit/formats/layout.h"

namespace lowbit::model {

/// The shape of a Llama: RMSNorm, RoPE (half-split), SwiGLU, grouped-query attention, no biases; with qk_norm of a
/// Qwen3.
struct Config {
  std::int64_t layers = 0, width = 0, heads = 0, kv_heads = 0, head_dim = 0, mlp = 0, vocab = 0;
  std::int64_t positions = 0;  ///< the longest context, max_position_embeddings
  double norm_eps = 1e-5;
  double rope_theta = 10000;
  bool tied = false;     ///< the head is the embedding
  bool qk_norm = false;  ///< each head of q and k is RMS-normed before its rotation, as in Qwen3
  std::optional<std::int64_t> bos;
  std::vector<std::int64_t> eos;  ///< each of them ends a text

  bool ends_text(std::int64_t token) const { return std::find(eos.begin(), eos.end(), token) != eos.end(); }
  std::int64_t q_width() const { return heads * head_dim; }
  std::int64_t kv_width() const { return kv_heads * head_dim; }
  /// Parameters of the blocks' linear layers.
  std::int64_t block_parameters() const;
  /// All parameters, a tied head once.
  std::int64_t parameters() const;
  /// throws Error(usage): a value out of range, heads no multiple of kv_heads, an odd head_dim, or (under `scheme`) a
  /// width without a Hadamard group, a row too long for exact sums or one that --scale-group does not divide.
  void check(const Scheme& scheme) const;
  friend bool operator==(const Config&, const Config&) = default;
};

/// A shape by name: "0.5m" ... "16m", and the paper's "30m" ... "1.6b" (QuEST, appendix: layers, width, heads of 128).
/// Vocabulary and context are the data's. throws Error(usage) that lists the names.
Config preset(std::string_view size);
std::vector<std::string_view> preset_names();

/// The paper's MLP width: 8/3 of the width, rounded down, then up to a multiple of 256.
std::int64_t default_mlp(std::int64_t width);

/// What config.json says: shape, arithmetic, and how weights are stored.
struct ModelDescription {
  Config config;
  Scheme scheme;
  bool packed = false;         ///< coded weights as X.weight.codes and X.weight.scale
  bool scheme_stated = false;  ///< false: a plain Hugging Face folder, whose scheme follows from the stored dtype
  std::string stated_dtype{};  ///< torch_dtype as config.json says it, or ""; the stored tensors decide
  std::vector<std::string> ignored_keys{};  ///< of config.json: they cannot change a logit (config_keys.h)
};

/// Reads config.json. throws Error(input) for what this program does not compute: another architecture, biases, scaled
/// rotary positions, keys that could change a logit (config_keys.h), a schema version that is newer; and for a file
/// that says two things.
ModelDescription parse_config(const files::Json& json, std::string_view where);
/// The reverse: Hugging Face keys, ours under quantization_config (docs/reference/formats.md); a plain model gets none
/// of ours.
files::Json config_json(const ModelDescription& description);
/// As config.json and generation_config.json list end tokens: null, a number, or a list of several.
files::Json eos_json(const Config& config);

/// f32 or bf16 with the keys that follow from it: the folder is an ordinary Hugging Face model, its weights stored in
/// that type (norms in float32). Everything else stores float32 weights until it is packed.
bool is_plain(const Scheme& scheme);

}  // namespace lowbit::model
