#include "lowbit/model/tensors.h"

#include "lowbit/base/error.h"
#include "lowbit/formats/layout.h"

namespace lowbit::model {

std::vector<TensorSpec> tensors(const Config& c) {
  std::vector<TensorSpec> list;
  list.push_back({"model.embed_tokens.weight", TensorRole::embedding, -1, c.vocab, c.width});
  for (std::int64_t i = 0; i < c.layers; ++i) {
    const std::string at = "model.layers." + std::to_string(i) + ".";
    list.push_back({at + "input_layernorm.weight", TensorRole::norm, i, 1, c.width});
    list.push_back({at + "self_attn.q_proj.weight", TensorRole::q, i, c.q_width(), c.width});
    list.push_back({at + "self_attn.k_proj.weight", TensorRole::k, i, c.kv_width(), c.width});
    list.push_back({at + "self_attn.v_proj.weight", TensorRole::v, i, c.kv_width(), c.width});
    list.push_back({at + "self_attn.o_proj.weight", TensorRole::o, i, c.width, c.q_width()});
    if (c.qk_norm)
      for (const char* norm : {"self_attn.q_norm.weight", "self_attn.k_norm.weight"})
        list.push_back({at + norm, TensorRole::norm, i, 1, c.head_dim});
    list.push_back({at + "post_attention_layernorm.weight", TensorRole::norm, i, 1, c.width});
    list.push_back({at + "mlp.gate_proj.weight", TensorRole::gate, i, c.mlp, c.width});
    list.push_back({at + "mlp.up_proj.weight", TensorRole::up, i, c.mlp, c.width});
    list.push_back({at + "mlp.down_proj.weight", TensorRole::down, i, c.width, c.mlp});
  }
  list.push_back({"model.norm.weight", TensorRole::norm, -1, 1, c.width});
  if (!c.tied) list.push_back({"lm_head.weight", TensorRole::head, -1, c.vocab, c.width});
  return list;
}

TensorRole input_owner(TensorRole role) {
  if (role == TensorRole::k || role == TensorRole::v) return TensorRole::q;
  return role == TensorRole::up ? TensorRole::gate : role;
}

TensorRole step_owner(TensorRole role, const Scheme& scheme) {
  return scheme.share_steps && (role == TensorRole::k || role == TensorRole::v) ? TensorRole::q : role;
}

std::vector<StepSpec> step_tensors(const Config& config, const Scheme& scheme) {
  std::vector<StepSpec> steps;
  if (!scheme.quantized() || !is_learned(scheme.estimator)) return steps;
  for (const TensorSpec& spec : tensors(config)) {
    if (!spec.linear()) continue;
    const Format& word = scheme.word_of(spec.layer, kind_of(spec.role));
    if (!word.quantized()) continue;
    const std::string layer = spec.name.substr(0, spec.name.size() - std::string_view("weight").size());
    if (learns_weight_steps(scheme.estimator) && step_owner(spec.role, scheme) == spec.role)
      steps.push_back({{layer + "step", TensorRole::norm, spec.layer, 1, 1}, spec.role, false});
    if (!word.activation || input_owner(spec.role) != spec.role) continue;
    steps.push_back({{layer + "input_step", TensorRole::norm, spec.layer, 1, 1}, spec.role, true});
    if (learns_offset(scheme.estimator))
      steps.push_back({{layer + "input_offset", TensorRole::norm, spec.layer, 1, 1}, spec.role, true, true});
  }
  return steps;
}

TensorCoding coding_of(const TensorSpec& spec, const Scheme& scheme) {
  TensorCoding coding;
  if (spec.role == TensorRole::norm) return coding;
  if (spec.linear()) {
    const Format& word = scheme.word_of(spec.layer, kind_of(spec.role));
    coding.format = scheme.with_grids(word);
    if (!word.quantized()) return coding;
    coding.group = scheme.weight_group(spec.columns, word);
    coding.input_group = scheme.activation_group(spec.columns, word);
  } else {
    coding.format = scheme.head;
    if (!scheme.head.quantized()) return coding;
    // Head and embedding are always rotated: their key is one of its own, apart from the blocks' transform.
    coding.group = coding.input_group = hadamard_group(spec.columns);
  }
  if (const Grid* grid = coding.format.weight)
    coding.weight = spec.linear() ? scheme.weight_side(*grid) : scheme.head_side(*grid);
  if (const Grid* grid = coding.format.activation)
    coding.input = spec.linear() ? scheme.input_side(*grid) : scheme.head_side(*grid);
  return coding;
}

std::vector<std::int64_t> scale_shape(const TensorSpec& spec, const TensorCoding& coding) {
  if (coding.weight.scale_group == 0) return {spec.rows};
  return {spec.rows, coding.weight.slices(spec.columns)};
}

StoredBytes stored_bytes(const TensorSpec& spec, const Format& format, std::int64_t scale_group) {
  if (format.weight)
    return {
        spec.rows * static_cast<std::int64_t>(stored_row_bytes(*format.weight, static_cast<std::size_t>(spec.columns))),
        4 * spec.rows * (scale_group ? spec.columns / scale_group : 1)};
  return {spec.elements() * (format.kind == Format::Kind::bf16 ? 2 : 4), 0};
}

void check_layer_formats(const Config& config, const Scheme& scheme) {
  if (scheme.layer_formats.empty()) return;
  constexpr LayerKind kGroups[][2] = {{LayerKind::q, LayerKind::v}, {LayerKind::gate, LayerKind::up}};
  for (const LayerFormat& rule : scheme.layer_formats) {
    bool found = false;
    for (std::int64_t block = 0; block < config.layers && !found; ++block)
      for (std::uint32_t kind = 0; kind < kLayerKinds.size() && !found; ++kind)
        found = rule.names(block, static_cast<LayerKind>(kind));
    if (!found)
      fail_usage("--layer-formats: '{}' names no layer of this model; its names go from {} to {}", rule.pattern,
                 layer_name(0, LayerKind::q), layer_name(config.layers - 1, LayerKind::down));
  }
  for (std::int64_t block = 0; scheme.share_steps && block < config.layers; ++block)
    for (const LayerKind kind : {LayerKind::k, LayerKind::v})
      if (scheme.word_of(block, kind).weight != scheme.word_of(block, LayerKind::q).weight)
        fail_usage("--share-steps: {} and {} have weights on different grids, which cannot have one step",
                   layer_name(block, LayerKind::q), layer_name(block, kind));
  for (std::int64_t block = 0; block < config.layers; ++block)
    for (const auto& [first, last] : kGroups) {
      const Format one = scheme.with_grids(scheme.word_of(block, first));
      for (auto kind = static_cast<std::uint32_t>(first) + 1; kind <= static_cast<std::uint32_t>(last); ++kind) {
        const Format other = scheme.with_grids(scheme.word_of(block, static_cast<LayerKind>(kind)));
        // Whether codes or what they stand for are multiplied is a question of both sides.
        if (one.kind == other.kind && one.activation == other.activation && one.integer() == other.integer()) continue;
        fail_usage(
            "--layer-formats: {} is {} and {} is {}, but they read one input, which is coded once: give them the same "
            "activations",
            layer_name(block, first), one.name(), layer_name(block, static_cast<LayerKind>(kind)), other.name());
      }
    }
}

void check_scale_group(const Config& config, const Scheme& scheme) {
  const std::int64_t group = scheme.scale_group;
  if (group == 0) return;
  for (const TensorSpec& spec : tensors(config)) {
    if (!spec.linear()) continue;
    const Format& word = scheme.word_of(spec.layer, kind_of(spec.role));
    if (!word.weight) continue;
    const std::string layer = layer_name(spec.layer, kind_of(spec.role));
    if (spec.columns % group != 0)
      fail_usage("--scale-group {} does not divide the rows of {}, of {} weights", group, layer, spec.columns);
    if (const int rotated = scheme.weight_group(spec.columns, word); group % rotated != 0)
      fail_usage(
          "--scale-group {} cuts the Hadamard groups of {}, of {} weights: choose {} or more, or --transform none",
          group, layer, rotated, rotated);
  }
}

}  // namespace lowbit::model
