#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "lowbit/files/json.h"
#include "lowbit/model/config.h"

// Parts of parse_config (config.h) that judge what other programs write into config.json and generation_config.json
// (docs/reference/formats.md, "config.json").
namespace lowbit::model {

/// Looks at every key of config.json that is not read elsewhere.
/// config   what was read, with which a key of another spelling must agree.
/// returns  the keys that cannot change a logit, in their order.
/// throws Error(input) that names the key: it could change a logit, and its value is not what this program computes.
std::vector<std::string> check_keys(const files::Json& json, const Config& config, std::string_view where);

/// The base of the rotary frequencies, from rope_theta, rope_scaling and rope_parameters in all their spellings.
/// throws Error(input): a scaling that this program does not compute, two bases or two types that differ, an unknown
/// key.
double read_rope_theta(const files::Json& json, std::string_view where);

/// Adds what bos_token_id and eos_token_id say: end tokens of every file end a text, the begin token of the first file
/// holds. config.vocab is known. throws Error(input): an id outside the vocabulary.
void read_token_ids(const files::Json& json, Config& config, std::string_view where);

}  // namespace lowbit::model
