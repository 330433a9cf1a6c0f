#include <string>
#include <unordered_map>
#include <utility>

#include "lowbit/base/error.h"
#include "lowbit/model/config.h"
#include "lowbit/model/config_keys.h"
#include "lowbit/model/tensors.h"

namespace lowbit::model {
namespace {

using files::Json;

constexpr int kSchemaVersion = 1;

void require_value(bool good, std::string_view key, const Json& json, std::string_view where, std::string_view wanted) {
  if (!good)
    fail_input("{}: {} is {}; this program computes only {}", where, key,
               files::json_excerpt(json.at(std::string(key))), wanted);
}

/// Qwen3 is Llama with normed heads of q and k.
bool qk_norm(const Json& json) {
  const auto found = json.find("model_type");
  return found != json.end() && *found == "qwen3";
}

void check_architecture(const Json& json, std::string_view where) {
  const auto is = [&](std::string_view key, const Json& wanted) {
    const auto found = json.find(std::string(key));
    return found == json.end() || found->is_null() || *found == wanted;
  };
  require_value(is("model_type", "llama") || is("model_type", "qwen3"), "model_type", json, where, "llama, qwen3");
  // LLaMAForCausalLM is how the first conversions spelled it.
  const bool good = qk_norm(json) ? is("architectures", Json::array({"Qwen3ForCausalLM"}))
                                  : is("architectures", Json::array({"LlamaForCausalLM"})) ||
                                        is("architectures", Json::array({"LLaMAForCausalLM"}));
  require_value(good, "architectures", json, where,
                qk_norm(json) ? "Qwen3ForCausalLM, with model_type qwen3" : "LlamaForCausalLM, with model_type llama");
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
  const auto all = tensors(d.config);
  std::unordered_map<std::string_view, const TensorSpec*> specs;
  for (const TensorSpec& spec : all) specs.emplace(spec.name, &spec);
  for (const auto& [name, value] : found->items()) {
    const auto place = specs.find(name);
    const TensorSpec* spec = place == specs.end() ? nullptr : place->second;
    if (!spec) fail_input("{}: groups names '{}', which this model does not have", where, name);
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
  for (const LayerFormat& rule : scheme.layer_formats)
    list.push_back(static_cast<std::uint32_t>(layout_for(rule.format)));
  return list;
}

void parse_scheme(const Json& json, ModelDescription& d, std::string_view where) {
  // Another tool's method first: its keys are no one's mistake.
  const auto method = files::required<std::string>(json, "quant_method", where);
  if (method != "lowbit")
    fail_input("{}: quant_method is '{}'; this program reads only lowbit: name the model before it was quantized",
               where, method);
  files::refuse_unknown_keys(json,
                             {"quant_method", "version", "format", "layer_formats", "head", "attention", "estimator",
                              "transform", "outer_trust", "scale", "scale_group", "grid", "fp4_threshold",
                              "sparse_scale", "share_steps", "packed", "layout", "layer_layouts", "groups"},
                             where);
  const auto version = files::required<int>(json, "version", where);
  if (version != kSchemaVersion)
    fail_input("{}: quantization_config has version {}, this program reads {}; use a newer program", where, version,
               kSchemaVersion);
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
    fail_input("{}: the codes lie in layout {}; this program reads {} in layout {}", where, layout,
               d.scheme.format.name(), wanted);
  if (const auto found = json.find("layer_layouts");
      d.packed && found != json.end() && *found != layer_layouts(d.scheme))
    fail_input("{}: the codes of layers with formats of their own lie in layouts {}; this program reads {}", where,
               files::json_excerpt(*found), layer_layouts(d.scheme).dump());
  d.scheme_stated = true;
}

/// A message about flags, in the words of config.json.
std::string with_keys(std::string message) {
  constexpr std::pair<std::string_view, std::string_view> kNames[] = {
      {"--layers", "num_hidden_layers"},     {"--width", "hidden_size"},
      {"--heads", "num_attention_heads"},    {"--mlp", "intermediate_size"},
      {"--kv-heads", "num_key_value_heads"}, {"--vocab", "vocab_size"},
      {"--seq", "max_position_embeddings"},  {"head width", "head_dim"}};
  for (const auto& [flag, key] : kNames)
    for (std::size_t at = 0; (at = message.find(flag, at)) != std::string::npos; at += key.size())
      message.replace(at, flag.size(), key);
  return message;
}

/// The type of numbers that loaders of other programs are told to take, or "".
std::string stated_dtype(const Json& json) {
  for (const char* key : {"dtype", "torch_dtype"})
    if (const auto found = json.find(key); found != json.end() && found->is_string()) {
      std::string name = found->get<std::string>();
      return name.starts_with("torch.") ? name.substr(6) : name;
    }
  return {};
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
  c.rope_theta = read_rope_theta(json, where);
  c.tied = files::optional<bool>(json, "tie_word_embeddings", false, where);
  c.qk_norm = qk_norm(json);
  d.stated_dtype = stated_dtype(json);
  const auto ours = json.find("quantization_config");
  if (ours != json.end() && !ours->is_null()) parse_scheme(*ours, d, where);
  try {
    c.check(d.scheme);
  } catch (const Error& error) {
    fail_input("{}: {}", where, with_keys(error.what()));
  }
  read_token_ids(json, c, where);
  d.ignored_keys = check_keys(json, c, where);
  if (d.scheme_stated) check_groups(*ours, d, where);
  return d;
}

bool is_plain(const Scheme& scheme) {
  if (scheme.quantized() || scheme.format.masked) return false;
  const Scheme usual = default_scheme(scheme.format);
  return scheme.head == usual.head && scheme.attention == usual.attention;
}

Json eos_json(const Config& c) {
  if (c.eos.empty()) return Json();
  return c.eos.size() == 1 ? Json(c.eos.front()) : Json(c.eos);
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
  json["eos_token_id"] = eos_json(c);
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
