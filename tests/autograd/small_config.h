#pragma once
#include "lowbit/model/config.h"

namespace lowbit::test {

/// Grouped queries, a vocabulary that fills no panel, and room for more tokens than one block of keys.
inline model::Config small_config(std::int64_t layers, bool tied = false) {
  model::Config c;
  c.layers = layers;
  c.width = 128;
  c.heads = 4;
  c.kv_heads = 2;
  c.head_dim = 32;
  c.mlp = 192;
  c.vocab = 101;
  c.positions = 80;
  c.tied = tied;
  return c;
}

}  // namespace lowbit::test
