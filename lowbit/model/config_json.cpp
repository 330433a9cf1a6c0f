#include <array>

#include "lowbit/base/error.h"
#include "lowbit/model/config.h"
#include "lowbit/model/tensors.h"

namespace lowbit::model {
namespace {

using files::Json;

constexpr int kSchemaVersion = 1;

// Keys that Hugging Face's Llama configurations carry. Those that could change the arithmetic are checked below; the rest
// speak of training or of software.
constexpr std::array<std::string_view, 52> kKnownKeys{
    "architectures", "model_type", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
    "num_key_value_heads", "head_dim", "vocab_size", "max_position_embeddings", "rms_norm_eps", "rope_theta",
    "rope_scaling", "rope_parameters", "rope_interleaved", "hidden_act", "tie_word_embeddings", "attention_bias", "mlp_bias",
    "attention_dropout", "hidden_dropout", "bos_token_id", "eos_token_id", "pad_token_id", "unk_token_id",
    "initializer_range", "torch_dtype", "dtype", "use_cache", "transformers_version", "pretraining_tp", "_name_or_path",
    "name_or_path", "is_llama_config", "quantization_config", "_attn_implementation", "attn_implementation",
    "auto_map", "output_attentions", "output_hidden_states", "return_dict", "id2label", "label2id", "problem_type",
    "task_specific_params", "use_return_dict", "chunk_size_feed_forward", "_commit_hash",
    "use_sliding_window", "sliding_window", "max_window_layers", "layer_types"};

void require_value(bool good, std::string_view key, const Json& json, std::string_view where, std::string_view wanted) {
  if (!good)
    fail_input("{}: {} is {}; this program computes only {}", where, key, files::json_excerpt(json.at(std::string(key))), wanted);
}

/// Qwen3 is Llama with normed heads of q and k.
bool qk_norm(const Json& json) {
  const auto found = json.find("model_type");
  return found != json.end() && *found == "qwen3";
}

void check_architecture(const Json& json, std::string_view where) {
  files::refuse_unknown_keys(json, kKnownKeys, where);
  const auto is = [&](std::string_view key, const Json& wanted) {
    const auto found = json.find(std::string(key));
    return found == json.end() || found->is_null() || *found == wanted;
  };
  require_value(is("model_type", "llama") || is("model_type", "qwen3"), "model_type", json, where, "llama, qwen3");
  require_value(is("architectures", Json::array({qk_norm(json) ? "Qwen3ForCausalLM" : "LlamaForCausalLM"})), "architectures",
                json, where, qk_norm(json) ? "Qwen3ForCausalLM, with model_type qwen3" : "LlamaForCausalLM, with model_type llama");
  require_value(is("use_sliding_window", false), "use_sliding_window", json, where, "attention to all positions (false)");
  require_value(is("hidden_act", "silu"), "hidden_act", json, where, "silu");
  require_value(is("attention_bias", false), "attention_bias", json, where, "layers without biases (false)");
  require_value(is("mlp_bias", false), "mlp_bias", json, where, "layers without biases (false)");
  require_value(is("rope_scaling", nullptr), "rope_scaling", json, where, "unscaled rotary positions (null)");
  require_value(is("rope_interleaved", false), "rope_interleaved", json, where, "half-split rotary pairs (false)");
  require_value(is("pretraining_tp", 1), "pretraining_tp", json, where, "1");
}

std::optional<std::int64_t> token_id(const Json& json, std::string_view key, std::string_view where) {
  const auto found = json.find(std::string(key));
  if (found == json.end() || found->is_null()) return std::nullopt;
  // Chat models list several ends; the first is the one that ends a text.
  if (found->is_array() && !found->empty()) return files::required<std::vector<std::int64_t>>(json, key, where).front();
  return files::required<std::int64_t>(json, key, where);
}

double rope_theta(const Json& json, std::string_view where) {
  const auto found = json.find("rope_parameters");
  if (found == json.end() || found->is_null()) return files::optional<double>(json, "rope_theta", 10000.0, where);
  const std::string type = files::optional<std::string>(*found, "rope_type", "default", where);
  if (type != "default") fail_input("{}: rope_type is '{}'; this program computes only default", where, type);
  return files::required<double>(*found, "rope_theta", where);
}

/// Words that a flag would refuse are bad input when they stand in a file.
template <class Parse>
auto word(const Json& json, std::string_view key, std::string_view where, Parse parse) {
  const auto text = files::required<std::string>(json, key, where);
  try {
    return parse(text);
  } catch (const Error& error) {
    fail_input("{}: {}: {}", where, key, error.what());
  }
}

void check_groups(const Json& json, const ModelDescription& d, std::string_view where) {
  const auto found = json.find("groups");
  if (found == json.end()) return;
  for (const auto& [name, value] : found->items()) {
    const auto specs = tensors(d.config);
    const auto spec = std::find_if(specs.begin(), specs.end(), [&](const TensorSpec& s) { return s.name == name; });
    if (spec == specs.end()) fail_input("{}: groups names '{}', which this model does not have", where, name);
    const int wanted = coding_of(*spec, d.scheme).group;
    if (!value.is_number_integer() || value.get<std::int64_t>() != wanted)
      fail_input("{}: '{}' has Hadamard group {}, but rows of {} are rotated in groups of {}", where, name,
                 files::json_excerpt(value), spec->columns, wanted);
  }
}

/// The layout of the codes of layers of a format. Head and embedding are in layout 1.
LayoutId layout_for(const Format& format) { return format.weight ? layout_of(*format.weight) : LayoutId::canonical; }

/// Those of the layers with formats of their own, in the order of the rules.
Json layer_layouts(const Scheme& scheme) {
  Json list = Json::array();
  for (const LayerFormat& rule : scheme.layer_formats) list.push_back(static_cast<std::uint32_t>(layout_for(rule.format)));
  return list;
}

void parse_scheme(const Json& json, ModelDescription& d, std::string_view where) {
  files::refuse_unknown_keys(json, {"quant_method", "version", "format", "layer_formats", "head", "attention", "estimator", "transform",
                                    "outer_trust", "scale", "scale_group", "grid", "fp4_threshold", "sparse_scale", "share_steps", "packed", "layout",
                                    "layer_layouts", "groups"}, where);
  const auto method = files::required<std::string>(json, "quant_method", where);
  if (method != "lowbit") fail_input("{}: quant_method is '{}'; this program reads only lowbit", where, method);
  const auto version = files::required<int>(json, "version", where);
  if (version != kSchemaVersion)
    fail_input("{}: quantization_config has version {}, this program reads {}; use a newer program", where, version, kSchemaVersion);
  d.scheme.format = word(json, "format", where, parse_format);
  if (json.contains("layer_formats")) d.scheme.layer_formats = word(json, "layer_formats", where, parse_layer_formats);
  d.scheme.head = word(json, "head", where, parse_head);
  d.scheme.attention = word(json, "attention", where, parse_attention);
  d.scheme.estimator = word(json, "estimator", where, parse_estimator);
  d.scheme.transform = word(json, "transform", where, parse_transform);
  d.scheme.outer_trust = files::optional<double>(json, "outer_trust", 0.0, where);
  // Written where they are not what they always were: folders without them mean the first.
  const auto take = [&](std::string_view key, auto parse, auto& value) {
    if (json.contains(key)) value = word(json, key, where, parse);
  };
  take("scale", parse_scale_rule, d.scheme.scale);
  d.scheme.scale_group = files::optional<std::int64_t>(json, "scale_group", 0, where);
  take("grid", parse_grid_shape, d.scheme.grid);
  take("fp4_threshold", parse_fp4_threshold, d.scheme.fp4_threshold);
  take("sparse_scale", parse_sparse_scale, d.scheme.sparse_scale);
  d.scheme.share_steps = files::optional<bool>(json, "share_steps", false, where);
  d.packed = files::optional<bool>(json, "packed", false, where);
  const auto layout = files::optional<std::uint32_t>(json, "layout", 1, where);
  const auto wanted = static_cast<std::uint32_t>(layout_for(d.scheme.format));
  if (d.packed && layout != wanted)
    fail_input("{}: the codes lie in layout {}; this program reads {} in layout {}", where, layout, d.scheme.format.name(), wanted);
  if (const auto found = json.find("layer_layouts"); d.packed && found != json.end() && *found != layer_layouts(d.scheme))
    fail_input("{}: the codes of layers with formats of their own lie in layouts {}; this program reads {}", where,
               files::json_excerpt(*found), layer_layouts(d.scheme).dump());
  d.scheme_stated = true;
}

}  // namespace

ModelDescription parse_config(const Json& json, std::string_view where) {
  files::require_object(json, where);
  check_architecture(json, where);
  ModelDescription d;
  Config& c = d.config;
  c.layers = files::required<std::int64_t>(json, "num_hidden_layers", where);
  c.width = files::required<std::int64_t>(json, "hidden_size", where);
  c.heads = files::required<std::int64_t>(json, "num_attention_heads", where);
  if (c.heads < 1 || c.width < 1) fail_input("{}: hidden_size and num_attention_heads must be positive", where);
  c.kv_heads = files::optional<std::int64_t>(json, "num_key_value_heads", c.heads, where);
  c.head_dim = files::optional<std::int64_t>(json, "head_dim", c.width / c.heads, where);
  c.mlp = files::required<std::int64_t>(json, "intermediate_size", where);
  c.vocab = files::required<std::int64_t>(json, "vocab_size", where);
  c.positions = files::optional<std::int64_t>(json, "max_position_embeddings", 2048, where);
  c.norm_eps = files::optional<double>(json, "rms_norm_eps", 1e-6, where);
  c.rope_theta = rope_theta(json, where);
  c.tied = files::optional<bool>(json, "tie_word_embeddings", false, where);
  c.qk_norm = qk_norm(json);
  c.bos = token_id(json, "bos_token_id", where);
  c.eos = token_id(json, "eos_token_id", where);
  const auto ours = json.find("quantization_config");
  if (ours != json.end() && !ours->is_null()) parse_scheme(*ours, d, where);
  try {
    c.check(d.scheme);
  } catch (const Error& error) {
    fail_input("{}: {}", where, error.what());
  }
  if (d.scheme_stated) check_groups(*ours, d, where);
  return d;
}

bool is_plain(const Scheme& scheme) {
  if (scheme.quantized() || scheme.format.masked) return false;
  const Scheme usual = default_scheme(scheme.format);
  return scheme.head == usual.head && scheme.attention == usual.attention;
}

Json config_json(const ModelDescription& d) {
  const Config& c = d.config;
  Json json;
  json["architectures"] = {c.qk_norm ? "Qwen3ForCausalLM" : "LlamaForCausalLM"};
  json["model_type"] = c.qk_norm ? "qwen3" : "llama";
  json["hidden_size"] = c.width;
  json["intermediate_size"] = c.mlp;
  json["num_hidden_layers"] = c.layers;
  json["num_attention_heads"] = c.heads;
  json["num_key_value_heads"] = c.kv_heads;
  json["head_dim"] = c.head_dim;
  json["vocab_size"] = c.vocab;
  json["max_position_embeddings"] = c.positions;
  json["rms_norm_eps"] = c.norm_eps;
  json["rope_theta"] = c.rope_theta;
  json["rope_scaling"] = nullptr;
  json["hidden_act"] = "silu";
  json["tie_word_embeddings"] = c.tied;
  json["attention_bias"] = false;
  json["mlp_bias"] = false;
  json["bos_token_id"] = c.bos ? Json(*c.bos) : Json();
  json["eos_token_id"] = c.eos ? Json(*c.eos) : Json();
  json["torch_dtype"] = is_plain(d.scheme) && d.scheme.format.kind == Format::Kind::bf16 ? "bfloat16" : "float32";
  if (is_plain(d.scheme)) return json;
  Json ours;
  ours["quant_method"] = "lowbit";
  ours["version"] = kSchemaVersion;
  ours["format"] = d.scheme.format.name();
  if (!d.scheme.layer_formats.empty()) ours["layer_formats"] = text_of(d.scheme.layer_formats);
  ours["head"] = d.scheme.head.name();
  ours["attention"] = name_of(d.scheme.attention);
  ours["estimator"] = name_of(d.scheme.estimator);
  ours["transform"] = name_of(d.scheme.transform);
  ours["outer_trust"] = d.scheme.effective_outer_trust();
  // A float start writes its first checkpoints as bf16, which has no use for these.
  const Scheme usual = d.scheme.quantized() ? Scheme{} : d.scheme;
  if (d.scheme.scale != usual.scale) ours["scale"] = name_of(d.scheme.scale);
  if (d.scheme.quantized() && d.scheme.scale_group != 0) ours["scale_group"] = d.scheme.scale_group;
  if (d.scheme.grid != usual.grid) ours["grid"] = name_of(d.scheme.grid);
  if (d.scheme.fp4_threshold != usual.fp4_threshold) ours["fp4_threshold"] = name_of(d.scheme.fp4_threshold);
  if (d.scheme.sparse_scale != usual.sparse_scale) ours["sparse_scale"] = name_of(d.scheme.sparse_scale);
  if (d.scheme.share_steps) ours["share_steps"] = true;
  ours["packed"] = d.packed;
  ours["layout"] = static_cast<std::uint32_t>(layout_for(d.scheme.format));
  if (!d.scheme.layer_formats.empty()) ours["layer_layouts"] = layer_layouts(d.scheme);
  Json groups = Json::object();
  for (const TensorSpec& spec : tensors(c)) {
    const TensorCoding coding = coding_of(spec, d.scheme);
    if (coding.format.quantized()) groups[spec.name] = coding.group;
  }
  ours["groups"] = groups;
  json["quantization_config"] = ours;
  return json;
}

}  // namespace lowbit::model
