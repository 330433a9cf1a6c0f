#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lowbit/model/tensors.h"

namespace lowbit::bench {

/// A model's shape by name (smollm2-135m, llama-1b, 107m, the presets of `train --size`), or as the six numbers
/// WIDTHxLAYERSxHEADSxKV_HEADSxMLPxVOCABULARY, untied. nullopt: neither. positions is left 0.
std::optional<model::Config> find_shape(std::string_view name);
std::vector<std::string> shape_names();

/// One kind of linear layer of a model, of one format.
struct LayerShape {
  std::string_view name;  ///< q, k, v, o, gate, up, down, head
  std::size_t n, k;
  std::size_t count;  ///< of this shape and format in the model
  model::TensorCoding coding;
};
std::vector<LayerShape> layer_shapes(const model::Config& config, const Scheme& scheme);

}  // namespace lowbit::bench
