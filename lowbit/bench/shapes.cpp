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

std::vector<LayerShape> layer_shapes(const model::Config& config, const Scheme& scheme) {
  std::vector<LayerShape> shapes;
  const std::vector<model::TensorSpec> specs = model::tensors(config);
  const auto add = [&](std::string_view name, const model::TensorSpec& spec) {
    const model::TensorCoding coding = model::coding_of(spec, scheme);
    for (LayerShape& shape : shapes)
      if (shape.name == name && shape.coding.format == coding.format) {
        ++shape.count;
        return;
      }
    shapes.push_back({name, static_cast<std::size_t>(spec.rows), static_cast<std::size_t>(spec.columns), 1, coding});
  };
  for (std::size_t kind = 0; kind < kLayerKinds.size(); ++kind)
    for (const model::TensorSpec& spec : specs)
      if (spec.linear() && static_cast<std::size_t>(model::kind_of(spec.role)) == kind) add(kLayerKinds[kind], spec);
  add("head", {"", model::TensorRole::head, -1, config.vocab, config.width});
  return shapes;
}

}  // namespace lowbit::bench
