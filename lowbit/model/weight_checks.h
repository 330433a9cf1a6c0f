#pragma once
#include "lowbit/model/config.h"
#include "lowbit/model/weight_files.h"

// Tensors that older exporters stored beside those that a model needs: they must say the same.
namespace lowbit::model {

/// Whether `view` holds a table of rotary frequencies: X.rotary_emb.inv_freq.
bool is_rotary_table(const files::TensorView& view);
/// throws Error(input): its values are not those of config.rope_theta, within its number type's precision.
void check_rotary_table(const files::TensorView& view, const Config& config);

/// throws Error(input): a head that is stored although config.json ties it, and is not the embedding.
void check_stored_head(const files::TensorView& head, const files::TensorView& embedding);

}  // namespace lowbit::model
