#include "lowbit/model/weight_checks.h"

#include <algorithm>
#include <cmath>

#include "lowbit/base/error.h"

namespace lowbit::model {

using files::Dtype;

bool is_rotary_table(const files::TensorView& view) {
  return view.name == "rotary_emb.inv_freq" || view.name.ends_with(".rotary_emb.inv_freq");
}

void check_rotary_table(const files::TensorView& view, const Config& config) {
  const std::int64_t half = config.head_dim / 2;
  view.require_shape(std::vector{half});
  // Rounded to its type, after a power in float32 that may be off by a few units; float16 keeps 2^-24 at least.
  const double relative = view.dtype == Dtype::bf16 ? 0x1p-7 : view.dtype == Dtype::f16 ? 0x1p-9 : 1e-5;
  const double absolute = view.dtype == Dtype::f16 ? 0x1p-23 : 0;
  if (view.dtype != Dtype::bf16 && view.dtype != Dtype::f16) view.require_dtype(Dtype::f32);
  const std::vector<float> values = view.floats();
  for (std::int64_t i = 0; i < half; ++i) {
    const double wanted =
        std::pow(config.rope_theta, -2.0 * static_cast<double>(i) / static_cast<double>(config.head_dim));
    const auto found = static_cast<double>(values[static_cast<std::size_t>(i)]);
    if (!(std::abs(found - wanted) <= relative * wanted + absolute))
      fail_input(
          "{}: tensor '{}' holds {} at {}, but config.json's rope_theta {} gives {:.6g}; the folder says two things",
          view.file, view.name, found, i, config.rope_theta, wanted);
  }
}

void check_stored_head(const files::TensorView& head, const files::TensorView& embedding) {
  head.require_shape(embedding.shape);
  const bool same = head.dtype == embedding.dtype ? std::ranges::equal(head.bytes, embedding.bytes)
                                                  : std::ranges::equal(head.floats(), embedding.floats());
  if (!same)
    fail_input(
        "{}: config.json says tie_word_embeddings, but '{}' and '{}' differ; set it to false if the stored head is "
        "meant, or remove the tensor",
        head.file, head.name, embedding.name);
}

}  // namespace lowbit::model
