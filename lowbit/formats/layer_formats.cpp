#include <algorithm>

#include "lowbit/base/error.h"
#include "lowbit/formats/format.h"

namespace lowbit {
namespace {

/// Whether `pattern`, whose * stand for any characters, is the whole of `name`.
bool matches(std::string_view pattern, std::string_view name) {
  std::size_t p = 0, n = 0, star = std::string_view::npos, again = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      again = n;
    } else if (p < pattern.size() && pattern[p] == name[n]) {
      ++p, ++n;
    } else if (star != std::string_view::npos) {  // the last * takes one more
      p = star + 1;
      n = ++again;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

std::string_view kind_name(LayerKind kind) { return kLayerKinds[static_cast<std::size_t>(kind)]; }

/// As Hugging Face names the tensor.
std::string tensor_name(std::int64_t block, LayerKind kind) {
  return fmt::format("model.layers.{}.{}.{}_proj.weight", block, kind <= LayerKind::o ? "self_attn" : "mlp",
                     kind_name(kind));
}

}  // namespace

std::string layer_name(std::int64_t block, LayerKind kind) {
  return fmt::format("blocks.{}.{}", block, kind_name(kind));
}

bool LayerFormat::names(std::int64_t block, LayerKind kind) const {
  return pattern == kind_name(kind) || matches(pattern, layer_name(block, kind)) ||
         matches(pattern, tensor_name(block, kind));
}

std::vector<LayerFormat> parse_layer_formats(std::string_view text) {
  std::vector<LayerFormat> list;
  if (text.empty()) return list;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t comma = std::min(text.find(',', at), text.size());
    const std::string_view word = text.substr(at, comma - at);
    const std::size_t equals = word.find('=');
    if (equals == std::string_view::npos || equals == 0)
      fail_usage("--layer-formats: '{}' is no LAYER=FORMAT (down=w2a3,blocks.0.*=w4a4)", word);
    const std::string_view pattern = word.substr(0, equals);
    const bool kind = std::find(kLayerKinds.begin(), kLayerKinds.end(), pattern) != kLayerKinds.end();
    if (!kind && pattern.find_first_of(".*") == std::string_view::npos)
      fail_usage(
          "--layer-formats: unknown layer kind '{}'; choose q, k, v, o, gate, up, down, or a name with a *: "
          "blocks.0.*, blocks.*.down",
          pattern);
    list.push_back({std::string(pattern), parse_format(word.substr(equals + 1))});
    at = comma + 1;
  }
  return list;
}

std::string text_of(const std::vector<LayerFormat>& list) {
  std::string text;
  for (const LayerFormat& rule : list)
    text += fmt::format("{}{}={}", text.empty() ? "" : ",", rule.pattern, rule.format.name());
  return text;
}

const Format& Scheme::word_of(std::int64_t block, LayerKind kind) const {
  for (auto rule = layer_formats.rbegin(); rule != layer_formats.rend(); ++rule)
    if (rule->names(block, kind)) return rule->format;
  return format;
}

std::vector<Format> Scheme::words() const {
  std::vector<Format> all{format};
  for (const LayerFormat& rule : layer_formats)
    if (std::find(all.begin(), all.end(), rule.format) == all.end()) all.push_back(rule.format);
  return all;
}

bool Scheme::quantized() const {
  return format.quantized() || std::any_of(layer_formats.begin(), layer_formats.end(),
                                           [](const LayerFormat& rule) { return rule.format.quantized(); });
}

std::string Scheme::name() const {
  return layer_formats.empty() ? format.name() : fmt::format("{} with {}", format.name(), text_of(layer_formats));
}

}  // namespace lowbit
