#include "lowbit/model/model_folder.h"

#include <cmath>
#include <set>

#include "lowbit/base/error.h"

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
  if (!fs::is_directory(folder)) fail_input("{} is not a folder; name a model folder or a run folder", folder.string());
  const fs::path config = folder / "config.json";
  if (!fs::exists(config)) fail_input("{} holds no config.json, so it is no model folder", folder.string());
  description_ = parse_config(files::read_json(config), config.string());
  open_files();
  infer_scheme();
  check_tensors();
}

void ModelFolder::open_files() {
  const fs::path whole = path_ / "model.safetensors", index = path_ / "model.safetensors.index.json";
  if (fs::exists(whole)) {
    files_.push_back(std::make_unique<files::SafetensorsFile>(whole));
    return;
  }
  if (!fs::exists(index)) fail_input("{} holds no model.safetensors", path_.string());
  std::set<std::string> names;
  const files::Json json = files::read_json(index);
  for (const auto& [tensor, file] : files::required<files::Json>(json, "weight_map", index.string()).items()) {
    if (!file.is_string()) fail_input("{}: weight_map must name a file for '{}'", index.string(), tensor);
    const auto name = file.get<std::string>();
    if (fs::path(name).filename() != fs::path(name)) fail_input("{}: '{}' is not a plain file name", index.string(), name);
    names.insert(name);
  }
  for (const std::string& name : names) files_.push_back(std::make_unique<files::SafetensorsFile>(path_ / name));
}

const files::TensorView* ModelFolder::find(std::string_view name) const {
  for (const auto& file : files_)
    if (const files::TensorView* found = file->find(name)) return found;
  return nullptr;
}

const files::TensorView& ModelFolder::at(const std::string& name) const {
  if (const files::TensorView* found = find(name)) return *found;
  fail_input("{}: tensor '{}' is missing", files_.front()->path(), name);
}

void ModelFolder::infer_scheme() {
  if (description_.scheme_stated) return;
  const auto& embedding = at("model.embed_tokens.weight");
  const Format stored{embedding.dtype == Dtype::bf16 ? Format::Kind::bf16 : Format::Kind::f32};
  description_.scheme = default_scheme(stored);
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
      fail_input("{}: tensor '{}' has dtype {}; wanted F32, BF16 or F16", view.file, spec.name, files::dtype_name(view.dtype));
    known.insert(spec.name);
  }
  for (const StepSpec& step : step_tensors(config(), scheme())) {
    if (!step.input && description_.packed) continue;
    const auto& view = at(step.tensor.name);
    view.require_dtype(Dtype::f32);
    view.require_shape(step.tensor.shape());
    known.insert(step.tensor.name);
  }
  for (const auto& file : files_)
    for (const auto& view : file->tensors()) {
      // Tables that older exporters stored; the same numbers follow from config.json. A tied head may be stored too.
      if (known.contains(view.name) || view.name.ends_with("rotary_emb.inv_freq")) continue;
      if (config().tied && view.name == "lm_head.weight") continue;
      fail_input("{}: tensor '{}' is not part of a Llama of this shape", view.file, view.name);
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
  return values;
}

std::span<const float> ModelFolder::offsets(const TensorSpec& spec) const {
  if (!has_offsets(spec)) return {};
  const auto& view = at(spec.name + ".offset");
  const auto values = view.values<float>();
  require_finite({spec.name + ".offset", spec.role, spec.layer, spec.rows, 1}, values, view.file);
  return values;
}

std::size_t ModelFolder::stored_bytes() const {
  std::size_t bytes = 0;
  for (const auto& file : files_)
    for (const auto& view : file->tensors()) bytes += view.bytes.size();
  return bytes;
}

}  // namespace lowbit::model
