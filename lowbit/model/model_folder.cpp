#include "lowbit/model/model_folder.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "lowbit/base/error.h"
#include "lowbit/model/config_keys.h"
#include "lowbit/model/weight_checks.h"

namespace lowbit::model {
namespace {

namespace fs = std::filesystem;
using files::Dtype;

bool is_float(Dtype dtype) { return dtype == Dtype::f32 || dtype == Dtype::bf16 || dtype == Dtype::f16; }

void require_finite(const TensorSpec& spec, std::span<const float> values, std::string_view file) {
  // One pass without branches: x - x is 0 for a finite x and NaN otherwise.
  float bad = 0;
  for (const float x : values) bad += x - x;
  if (bad == 0) return;
  for (std::size_t i = 0; i < values.size(); ++i)
    if (!std::isfinite(values[i])) {
      const auto columns = static_cast<std::size_t>(spec.columns);
      fail_input("{}: tensor '{}' holds {} at row {}, column {}; the weights are damaged or diverged", file, spec.name,
                 values[i], i / columns, i % columns);
    }
}

}  // namespace

ModelFolder::ModelFolder(const fs::path& folder) : path_(folder) {
  std::error_code error;
  if (!fs::is_directory(folder, error))
    fail_input("{} is not a folder; name a model folder or a run folder", folder.string());
  const fs::path config = folder / "config.json";
  if (!fs::exists(config, error)) fail_input("{} holds no config.json, so it is no model folder", folder.string());
  description_ = parse_config(files::read_json(config), config.string());
  read_generation();
  weights_.emplace(folder);
  infer_scheme();
  check_tensors();
}

/// End tokens that stand in generation_config.json end a text too. Its other settings are for other programs.
void ModelFolder::read_generation() {
  const fs::path path = path_ / "generation_config.json";
  std::error_code error;
  if (!fs::exists(path, error)) return;
  const files::Json json = files::read_json(path);
  files::require_object(json, path.string());
  read_token_ids(json, description_.config, path.string());
}

const files::TensorView* ModelFolder::find(std::string_view name) const { return weights_->find(name); }

const files::TensorView& ModelFolder::at(const std::string& name) const {
  if (const files::TensorView* found = find(name)) return *found;
  if (name == "lm_head.weight")
    fail_input("{}: tensor '{}' is missing, and config.json does not say tie_word_embeddings",
               weights_->files().front()->path(), name);
  fail_input("{}: tensor '{}' is missing", weights_->files().front()->path(), name);
}

/// A plain folder is bf16 where every matrix is stored so. Otherwise it is computed in float32, which holds bfloat16
/// and float16 exactly, so that no stored weight is rounded.
void ModelFolder::infer_scheme() {
  bool all_bf16 = true;
  for (const TensorSpec& spec : tensors(config())) {
    const files::TensorView* view = find(spec.name);
    if (!view || spec.role == TensorRole::norm) continue;
    all_bf16 = all_bf16 && view->dtype == Dtype::bf16;
    const std::string type(files::dtype_name(view->dtype));
    if (std::find(stored_types_.begin(), stored_types_.end(), type) == stored_types_.end())
      stored_types_.push_back(type);
  }
  if (!description_.scheme_stated)
    description_.scheme = default_scheme({all_bf16 ? Format::Kind::bf16 : Format::Kind::f32});
}

std::vector<std::string> ModelFolder::notes() const {
  std::vector<std::string> notes;
  if (!description_.ignored_keys.empty())
    notes.push_back(fmt::format("config.json: passed over, as nothing of it is computed with: {}",
                                fmt::join(description_.ignored_keys, ", ")));
  if (description_.scheme_stated) return notes;
  if (stored_types_.size() > 1)
    notes.push_back(fmt::format("matrices are stored in {}: computed in float32, which holds them all exactly",
                                fmt::join(stored_types_, " and ")));
  const auto name_of = [](std::string_view type) {
    return type == "BF16" ? "bfloat16" : type == "F16" ? "float16" : type == "F32" ? "float32" : type;
  };
  if (!description_.stated_dtype.empty() && stored_types_.size() == 1 &&
      name_of(stored_types_[0]) != description_.stated_dtype)
    notes.push_back(
        fmt::format("config.json: torch_dtype is {}, but matrices are stored in {}, and what is stored counts",
                    description_.stated_dtype, stored_types_[0]));
  return notes;
}

bool ModelFolder::is_coded(const TensorSpec& spec) const {
  return description_.packed && coding_of(spec, description_.scheme).format.weight;
}

bool ModelFolder::has_offsets(const TensorSpec& spec) const {
  return is_coded(spec) && coding_of(spec, description_.scheme).weight.shift == Shift::mean;
}

void ModelFolder::check_tensors() {
  std::set<std::string, std::less<>> known;
  for (const TensorSpec& spec : tensors(config())) {
    if (is_coded(spec)) {
      const TensorCoding coding = coding_of(spec, scheme());
      const Grid& grid = *coding.format.weight;
      const auto& codes = at(spec.name + ".codes");
      const auto row_bytes = static_cast<std::int64_t>(stored_row_bytes(grid, static_cast<std::size_t>(spec.columns)));
      codes.require_dtype(Dtype::u8);
      codes.require_shape(std::vector{spec.rows, row_bytes});
      const auto& scale = at(spec.name + ".scale");
      scale.require_dtype(Dtype::f32);
      scale.require_shape(scale_shape(spec, coding));
      known.insert(codes.name);
      known.insert(scale.name);
      if (has_offsets(spec)) {
        const auto& offset = at(spec.name + ".offset");
        offset.require_dtype(Dtype::f32);
        offset.require_shape(std::vector{spec.rows});
        known.insert(offset.name);
      }
      continue;
    }
    const auto& view = at(spec.name);
    view.require_shape(spec.shape());
    if (!is_float(view.dtype))
      fail_input("{}: tensor '{}' has dtype {}; wanted F32, BF16 or F16", view.file, spec.name,
                 files::dtype_name(view.dtype));
    known.insert(spec.name);
  }
  for (const StepSpec& step : step_tensors(config(), scheme())) {
    if (!step.input && description_.packed) continue;
    const auto& view = at(step.tensor.name);
    view.require_dtype(Dtype::f32);
    view.require_shape(step.tensor.shape());
    known.insert(step.tensor.name);
  }
  for (const auto& [name, view] : weights_->tensors()) {
    if (known.contains(name)) continue;
    if (is_rotary_table(*view)) {  // older exporters stored it; the same numbers follow from config.json
      check_rotary_table(*view, config());
      continue;
    }
    const files::TensorView* embedding = find("model.embed_tokens.weight");
    if (config().tied && name == "lm_head.weight" && embedding) {
      check_stored_head(*view, *embedding);
      continue;
    }
    fail_input("{}: tensor '{}' is not part of a {} of this shape", view->file, name,
               config().qk_norm ? "Qwen3" : "Llama");
  }
}

const files::TensorView& ModelFolder::tensor(const TensorSpec& spec) const { return at(spec.name); }

void ModelFolder::read_floats(const TensorSpec& spec, std::span<float> out) const {
  const auto& view = at(spec.name);
  files::to_floats(view.dtype, view.bytes, out);
  require_finite(spec, out, view.file);
}

std::span<const std::uint8_t> ModelFolder::codes(const TensorSpec& spec) const {
  return at(spec.name + ".codes").values<std::uint8_t>();
}

std::span<const float> ModelFolder::scales(const TensorSpec& spec) const {
  const auto& view = at(spec.name + ".scale");
  const auto values = view.values<float>();
  const std::int64_t slices = coding_of(spec, scheme()).weight.slices(spec.columns);
  require_finite({spec.name + ".scale", spec.role, spec.layer, spec.rows, slices}, values, view.file);
  // A learned step may pass 0 in training, and a negative one mirrors its grid. No other rule gives one.
  const bool signs = learns_weight_steps(scheme().estimator) && spec.linear();
  for (std::size_t i = 0; i < values.size(); ++i)
    if (values[i] < 0 && !signs)
      fail_input("{}: tensor '{}' holds {} in row {}; scales are not negative: the file is damaged", view.file,
                 view.name, values[i], i / static_cast<std::size_t>(slices));
  return values;
}

std::span<const float> ModelFolder::offsets(const TensorSpec& spec) const {
  if (!has_offsets(spec)) return {};
  const auto& view = at(spec.name + ".offset");
  const auto values = view.values<float>();
  require_finite({spec.name + ".offset", spec.role, spec.layer, spec.rows, 1}, values, view.file);
  return values;
}

}  // namespace lowbit::model
