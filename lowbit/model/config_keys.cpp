#include "lowbit/model/config_keys.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <functional>
#include <span>

#include "lowbit/base/error.h"
#include "lowbit/model/config_key_names.h"

namespace lowbit::model {
namespace {

using files::Json;
using Words = std::vector<std::string>;

/// The words of a name, in small letters: "useQKNorm-2" and "use_qk_norm_2" are alike.
Words words_of(std::string_view key) {
  Words words;
  std::string word;
  const auto end = [&] {
    if (!word.empty()) words.push_back(std::move(word));
    word.clear();
  };
  for (std::size_t i = 0; i < key.size(); ++i) {
    const auto c = static_cast<unsigned char>(key[i]);
    if (!std::isalnum(c)) {
      end();
      continue;
    }
    if (std::isupper(c) && i > 0 && std::islower(static_cast<unsigned char>(key[i - 1]))) end();
    word += static_cast<char>(std::tolower(c));
  }
  end();
  return words;
}

bool any_of(const Words& words, std::span<const std::string_view> list) {
  return std::any_of(words.begin(), words.end(),
                     [&](const std::string& w) { return std::ranges::find(list, w) != list.end(); });
}

/// null, false, 0, "" and empty lists and objects: the thing that a key names is not there.
bool is_off(const Json& v) {
  if (v.is_null() || v == false) return true;
  if (v.is_number()) return v.get<double>() == 0;
  return (v.is_string() && v.get_ref<const std::string&>().empty()) || ((v.is_array() || v.is_object()) && v.empty());
}

bool near(const Json& v, double wanted) {
  return v.is_number() && std::abs(v.get<double>() - wanted) <= 1e-6 * std::abs(wanted);
}

bool is_word(const Json& v, std::initializer_list<std::string_view> list) {
  return v.is_string() && std::ranges::find(list, v.get_ref<const std::string&>()) != list.end();
}

/// A key that matters, and the only value of it that this program computes; null is always right.
struct Rule {
  std::vector<std::string_view> keys;
  std::function<bool(const Json&)> right;
  std::string wanted;
};

/// The same number or word under another name.
template <class T>
Rule same(std::vector<std::string_view> keys, T value, std::string_view named) {
  return {std::move(keys), [value](const Json& v) { return v == Json(value); },
          fmt::format("what {} says, {}", named, value)};
}

std::vector<Rule> rules_for(const Json& json, const Config& c) {
  const auto one = [](const Json& v) { return near(v, 1); };
  const auto yes = [](const Json& v) { return v == true; };
  const double scale = 1 / std::sqrt(static_cast<double>(c.head_dim));
  const auto sliding = json.find("use_sliding_window");
  const bool window_off = sliding != json.end() && *sliding == false;
  return {
      {{"attention_bias", "mlp_bias", "qkv_bias", "use_bias", "use_qkv_bias", "bias", "lm_head_bias",
        "attention_out_bias", "attn_out_bias", "add_bias_linear", "add_qkv_bias", "norm_bias", "ffn_bias"},
       is_off,
       "layers without biases (false)"},
      {{"rope_interleaved", "rope_interleave", "rotary_interleaved", "rope_traditional", "use_mrope",
        "mrope_interleaved"},
       is_off,
       "half-split rotary pairs (false)"},
      {{"use_sliding_window", "use_sliding_window_attention", "use_dma", "use_window_attention"},
       is_off,
       "attention to all positions (false)"},
      {{"sliding_window", "attention_window", "window_size", "sliding_window_size"},
       [&c, window_off](const Json& v) {
         return window_off || is_off(v) || (v.is_number() && v.get<double>() >= static_cast<double>(c.positions));
       },
       "attention to all positions (null, or at least max_position_embeddings)"},
      {{"layer_types"},
       [&c](const Json& v) {
         return v.is_array() && v.size() == static_cast<std::size_t>(c.layers) &&
                std::all_of(v.begin(), v.end(), [](const Json& t) { return t == "full_attention"; });
       },
       "full_attention, once for each layer"},
      {{"hidden_act", "hidden_activation", "activation_function", "activation", "mlp_activation", "act_fn"},
       [](const Json& v) {
         return is_word(v, {"silu", "swish", "swiglu"});
       },
       "silu"},
      {{"norm_type", "normalization_type", "normalization"},
       [](const Json& v) {
         return is_word(v, {"rmsnorm", "rms_norm", "RMSNorm", "rms"});
       },
       "rmsnorm"},
      {{"position_embedding_type", "position_encoding_type"},
       [](const Json& v) {
         return is_word(v, {"rope", "rotary", "ROPE", "rope_half_split"});
       },
       "rope"},
      {std::vector(kOnes.begin(), kOnes.end()), one, "1"},
      {{"attention_multiplier", "attention_scale", "attn_scale", "softmax_scale"},
       [scale](const Json& v) { return near(v, scale); },
       fmt::format("1 / sqrt(head_dim), {:.6g}", scale)},
      {{"query_pre_attn_scalar"},
       [&c](const Json& v) { return near(v, static_cast<double>(c.head_dim)); },
       fmt::format("head_dim, {}", c.head_dim)},
      {{"is_causal", "causal", "use_rms_norm", "rms_norm", "use_rope", "use_rotary", "no_bias", "gated_mlp",
        "is_gated_act", "use_gated_mlp"},
       yes,
       "a causal Llama with RMSNorm, rotary positions and a gated MLP (true)"},
      same({"qk_norm", "use_qk_norm", "qk_layernorm", "use_qk_layernorm"}, c.qk_norm, "model_type"),
      same({"num_layers", "n_layer", "n_layers"}, c.layers, "num_hidden_layers"),
      same({"d_model", "n_embd", "dim", "model_dim"}, c.width, "hidden_size"),
      same({"n_head", "n_heads", "num_heads"}, c.heads, "num_attention_heads"),
      same({"n_kv_heads", "n_head_kv", "num_kv_heads", "n_kv_head"}, c.kv_heads, "num_key_value_heads"),
      same({"kv_channels", "attention_head_dim", "attention_head_size", "head_size", "qk_head_dim", "v_head_dim"},
           c.head_dim, "head_dim"),
      same({"rotary_dim", "rope_dim", "rotary_ndims", "qk_rope_head_dim"}, c.head_dim, "head_dim"),
      same({"ffn_dim", "ffn_hidden_size", "n_inner", "mlp_hidden_size", "feed_forward_size"}, c.mlp,
           "intermediate_size"),
      same({"n_vocab", "padded_vocab_size"}, c.vocab, "vocab_size"),
      same(
          {"norm_eps", "layer_norm_eps", "layer_norm_epsilon", "layernorm_epsilon", "rms_norm_epsilon", "norm_epsilon"},
          c.norm_eps, "rms_norm_eps"),
      same({"tie_embeddings", "tied_embeddings", "weight_tying"}, c.tied, "tie_word_embeddings"),
      {std::vector(kOff.begin(), kOff.end()), is_off, "a plain Llama (null, false or 0)"},
  };
}

/// Whether a key that no list names could change a logit. What is switched off could not, unless its name says nothing
/// of a switch.
bool suspect(std::string_view key, const Words& words, const Json& value) {
  if (value.is_null()) return false;
  const bool is_switch =
      !words.empty() && (words.front() == "use" || words.front() == "enable" || words.front() == "apply");
  std::string joined;
  for (const std::string& word : words) joined += word + ' ';
  const bool part = std::ranges::any_of(kSuspectParts, [&](auto p) { return joined.find(p) != std::string::npos; });
  if (is_switch && is_off(value) && !part) return false;
  return part || any_of(words, kSuspectWords) || key.empty();
}

}  // namespace

std::vector<std::string> check_keys(const Json& json, const Config& config, std::string_view where) {
  const std::vector<Rule> rules = rules_for(json, config);
  std::vector<std::string> ignored;
  for (const auto& [name, value] : json.items()) {
    const std::string_view key = name;
    const auto rule =
        std::ranges::find_if(rules, [&](const Rule& r) { return std::ranges::find(r.keys, key) != r.keys.end(); });
    if (rule != rules.end()) {
      if (!value.is_null() && !rule->right(value))
        fail_input("{}: {} is {}; this program computes only {}", where, name, files::json_excerpt(value),
                   rule->wanted);
      continue;
    }
    if (std::ranges::find(kRead, key) != kRead.end()) continue;
    const Words words = words_of(key);
    const bool harmless = std::ranges::find(kHarmless, key) != kHarmless.end() || any_of(words, kHarmlessWords) ||
                          key.ends_with("_token_id") || key.ends_with("_token_ids") || key.ends_with("_token") ||
                          key.ends_with("_token_index") || key.starts_with("tensor_parallel") ||
                          key.starts_with("pipeline_parallel");
    if (!harmless && suspect(key, words, value))
      fail_input(
          "{}: {} is {}; this program does not know this key, and its name says that it could change a result: remove "
          "the key if it cannot",
          where, files::json_excerpt(Json(name)), files::json_excerpt(value));
    ignored.push_back(name);
  }
  return ignored;
}

void read_token_ids(const Json& json, Config& config, std::string_view where) {
  const auto check = [&](std::string_view key, std::int64_t id) {
    if (id < 0 || id >= config.vocab)
      fail_input("{}: {} is {}, outside the vocabulary of {}; write null for none", where, key, id, config.vocab);
    return id;
  };
  const auto value = [&](const char* key) -> const Json* {
    const auto found = json.find(key);
    return found == json.end() || found->is_null() ? nullptr : &*found;
  };
  if (value("bos_token_id")) {
    const std::int64_t bos = check("bos_token_id", files::required<std::int64_t>(json, "bos_token_id", where));
    if (!config.bos) config.bos = bos;
  }
  const Json* eos = value("eos_token_id");
  if (!eos) return;
  const auto list = eos->is_array() ? files::required<std::vector<std::int64_t>>(json, "eos_token_id", where)
                                    : std::vector{files::required<std::int64_t>(json, "eos_token_id", where)};
  constexpr std::size_t kMost = 1024;
  if (list.size() > kMost)
    fail_input("{}: eos_token_id lists {} ids; more than {} are damage", where, list.size(), kMost);
  for (const std::int64_t id : list)
    if (!config.ends_text(check("eos_token_id", id))) config.eos.push_back(id);
}

}  // namespace lowbit::model
