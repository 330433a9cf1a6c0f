#include <optional>
#include <string>
#include <vector>

#include "lowbit/base/error.h"
#include "lowbit/model/config_keys.h"

namespace lowbit::model {
namespace {

using files::Json;

/// A base of the frequencies and where it stands.
struct Base {
  std::string key;
  double theta;
};

std::optional<std::string> text(const Json& json, std::string_view key, const std::string& where) {
  const auto found = json.find(std::string(key));
  if (found == json.end() || found->is_null()) return std::nullopt;
  return files::required<std::string>(json, key, where);
}

/// rope_scaling or rope_parameters: an object that may say the type, the base, and what scaling is applied.
void read_object(const Json& json, const std::string& key, std::string_view file, std::vector<Base>& bases) {
  const std::string where = fmt::format("{}: {}", file, key);
  files::require_object(json, where);
  for (const char* layers : {"full_attention", "sliding_attention", "chunked_attention"})
    if (json.contains(layers))
      fail_input("{}: it has settings for {} layers alone; this program rotates all layers alike", where, layers);
  const auto newer = text(json, "rope_type", where), older = text(json, "type", where);
  if (newer && older && *newer != *older)
    fail_input("{} says two things: rope_type is '{}' and type is '{}'", where, *newer, *older);
  const std::string type = newer ? *newer : older ? *older : "default";
  const bool whole = !json.contains("factor") || json["factor"].is_null() || json["factor"] == 1;
  if (type != "default" && !(type == "linear" && whole && json.contains("factor")))
    fail_input("{}: {} is '{}'; this program computes only unscaled rotary positions (default)", where,
               newer ? "rope_type" : "type", type);
  if (!whole)
    fail_input("{}: factor is {}, {}; this program computes only unscaled rotary positions", where,
               files::json_excerpt(json["factor"]),
               newer || older ? "but the type is default" : "and no rope_type says how it is used");
  files::refuse_unknown_keys(json,
                             {"rope_type", "type", "rope_theta", "factor", "attention_factor", "partial_rotary_factor",
                              "original_max_position_embeddings"},
                             where);
  for (const char* one : {"attention_factor", "partial_rotary_factor"})
    if (json.contains(one) && !json[one].is_null() && json[one] != 1)
      fail_input("{}: {} is {}; this program computes only 1", where, one, files::json_excerpt(json[one]));
  if (json.contains("rope_theta") && !json["rope_theta"].is_null())
    bases.push_back({key + ".rope_theta", files::required<double>(json, "rope_theta", where)});
}

}  // namespace

double read_rope_theta(const Json& json, std::string_view where) {
  std::vector<Base> bases;
  // Names that other programs gave the same number.
  for (const char* key : {"rope_theta", "rotary_base", "rope_base", "rotary_emb_base", "rope_freq_base"})
    if (json.contains(key) && !json[key].is_null()) bases.push_back({key, files::required<double>(json, key, where)});
  for (const char* key : {"rope_scaling", "rope_parameters"})
    if (json.contains(key) && !json[key].is_null()) read_object(json[key], key, where, bases);
  for (const Base& base : bases)
    if (base.theta != bases.front().theta)
      fail_input("{} says two things: {} is {} and {} is {}", where, bases.front().key, bases.front().theta, base.key,
                 base.theta);
  return bases.empty() ? 10000.0 : bases.front().theta;
}

}  // namespace lowbit::model
