#include "lowbit/bench/shapes.h"

#include <array>
#include <charconv>

namespace lowbit::bench {
namespace {

struct Named {
  std::string_view name;
  std::int64_t width, layers, heads, kv_heads, mlp, vocab;
  bool tied;
};
constexpr std::array kNamed{
    Named{"smollm2-135m", 576, 30, 9, 3, 1536, 49152, true},
    Named{"llama-1b", 2048, 22, 32, 4, 5632, 32000, false},
    Named{"107m", 512, 30, 8, 2, 1536, 32000, true},
};
constexpr std::int64_t kPresetVocabulary = 32000;

model::Config config_of(const Named& s) {
  model::Config c;
  c.width = s.width;
  c.layers = s.layers;
  c.heads = s.heads;
  c.kv_heads = s.kv_heads;
  c.head_dim = s.heads > 0 ? s.width / s.heads : 0;
  c.mlp = s.mlp;
  c.vocab = s.vocab;
  c.tied = s.tied;
  return c;
}

std::optional<model::Config> six_numbers(std::string_view text) {
  std::array<std::int64_t, 6> value{};
  const char *at = text.data(), *end = at + text.size();
  for (std::size_t i = 0; i < value.size(); ++i) {
    if (i > 0 && (at == end || *at++ != 'x')) return {};
    const auto [next, error] = std::from_chars(at, end, value[i]);
    if (error != std::errc() || value[i] < 1) return {};
    at = next;
  }
  if (at != end) return {};
  return config_of({"", value[0], value[1], value[2], value[3], value[4], value[5], false});
}

}  // namespace

std::optional<model::Config> find_shape(std::string_view name) {
  for (const Named& shape : kNamed)
    if (shape.name == name) return config_of(shape);
  for (const std::string_view preset : model::preset_names())
    if (preset == name) {
      model::Config c = model::preset(name);
      c.vocab = kPresetVocabulary;
      return c;
    }
  return six_numbers(name);
}

std::vector<std::string> shape_names() {
  std::vector<std::string> names;
  for (const Named& shape : kNamed) names.emplace_back(shape.name);
  for (const std::string_view preset : model::preset_names()) names.emplace_back(preset);
  return names;
}

std::vector<LayerShape> layer_shapes(const model::Config& c) {
  const auto size = [](std::int64_t n) { return static_cast<std::size_t>(n); };
  const std::size_t width = size(c.width), q = size(c.q_width()), kv = size(c.kv_width()), mlp = size(c.mlp);
  const std::size_t layers = size(c.layers);
  return {{"q", q, width, layers},      {"k", kv, width, layers},         {"v", kv, width, layers},
          {"o", width, q, layers},      {"gate", mlp, width, layers},     {"up", mlp, width, layers},
          {"down", width, mlp, layers}, {"head", size(c.vocab), width, 1}};
}

}  // namespace lowbit::bench
