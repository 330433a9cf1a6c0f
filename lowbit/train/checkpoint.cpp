#include "lowbit/train/checkpoint.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <span>
#include <vector>

#include "lowbit/base/error.h"
#include "lowbit/base/file_map.h"
#include "lowbit/files/json.h"
#include "lowbit/files/safetensors.h"
#include "lowbit/machine/bf16_unit.h"
#include "lowbit/machine/isa.h"
#include "lowbit/model/companions.h"
#include "lowbit/model/model_folder.h"

namespace lowbit::train {
namespace {

namespace fs = std::filesystem;
using files::Dtype;
using files::Json;

constexpr int kStateVersion = 1;

std::span<const float> floats(const at::Tensor& t) {
  return {t.const_data_ptr<float>(), static_cast<std::size_t>(t.numel())};
}

bool stored_as_bf16(const model::TensorSpec& spec, const Scheme& scheme) {
  return model::is_plain(scheme) && scheme.format.kind == Format::Kind::bf16 && spec.role != model::TensorRole::norm;
}

/// Rounds while it is written, a piece at a time.
files::ByteSource rounded(std::span<const float> values) {
  return [values](const files::ByteSink& sink) {
    std::vector<bf16> piece(std::size_t{1} << 16);
    for (std::size_t at = 0; at < values.size(); at += piece.size()) {
      const std::size_t n = std::min(piece.size(), values.size() - at);
      std::transform(values.begin() + static_cast<std::ptrdiff_t>(at),
                     values.begin() + static_cast<std::ptrdiff_t>(at + n), piece.begin(), to_bf16);
      sink(std::as_bytes(std::span(piece).first(n)));
    }
  };
}

files::ByteSource source_of(const files::SafetensorsWriter& writer) {
  return [&writer](const files::ByteSink& sink) { writer.write(sink); };
}

Json state_json(const State& state, const Options& options) {
  Json json;
  json["version"] = kStateVersion;
  json["step"] = state.step;
  json["tokens"] = state.tokens;
  json["data"] = {{"cursor", state.cursor}, {"seed", options.seed}, {"seq", options.seq}, {"batch", options.batch}};
  json["schedule"] = {{"name", options.schedule}, {"total_steps", state.total_steps}, {"warmup", options.warmup},
                      {"cooldown", options.cooldown}, {"peak", options.lr}};
  if (state.bits_step > 0) json["bits"] = {{"step", state.bits_step}};
  if (active_isa() == Isa::avx512 && cpu_features().avx512_bf16) json["bf16_unit"] = bf16_unit_in_use();
  return json;
}

Json generation_json(const model::Config& config) {
  Json json;
  json["bos_token_id"] = config.bos ? Json(*config.bos) : Json();
  json["eos_token_id"] = model::eos_json(config);
  json["max_length"] = config.positions;
  return json;
}

void read_tensor(const files::SafetensorsFile& file, const std::string& name, const model::TensorSpec& spec,
                 const at::Tensor& to) {
  const files::TensorView& view = file.at(name);
  view.require_dtype(Dtype::f32);
  view.require_shape(spec.shape());
  std::memcpy(to.mutable_data_ptr<float>(), view.bytes.data(), view.bytes.size());
  // A run that goes on from a NaN trains nothing more, and says so only steps later.
  const std::span<const float> values = floats(to);
  const bool square = name.starts_with("exp_avg_sq.");
  for (std::size_t i = 0; i < values.size(); ++i)
    if (!std::isfinite(values[i]) || (square && values[i] < 0))
      fail_input(
          "{}: tensor '{}' holds {} at index {}; remove this checkpoint, and --resume goes on from the one before",
          file.path(), name, values[i], i);
}

}  // namespace

Scheme scheme_of(const Options& options, const State& state) {
  Scheme scheme = scheme_at(options, state.step);
  if (state.bits_step > 0) scheme.layer_formats = state.allotted;
  return scheme;
}

Companions companions_of(const fs::path& folder, const fs::path& tokenizer) {
  Companions companions;
  for (const fs::path& file : model::companions(folder)) {
    const std::string name = file.filename().string();
    const bool is_tokenizer = name == "tokenizer.model" || name.ends_with(".bin");
    if (name == "generation_config.json") continue;
    std::string bytes = read_file(file);
    if (is_tokenizer && !tokenizer.empty()) {
      if (bytes != read_file(tokenizer)) return {};
      continue;  // it is copied from the data
    }
    companions.emplace_back(name, std::move(bytes));
  }
  return companions;
}

void save_checkpoint(const fs::path& run_folder, const State& state, const Options& options, autograd::Llama& llama,
                     AdamW& optimizer, const fs::path& tokenizer, const Companions& companions) {
  files::CheckpointWriter checkpoint(run_folder, state.step);
  const Scheme scheme = scheme_of(options, state);
  checkpoint.add("config.json", files::dump_pretty(model::config_json({options.config, scheme, false, true})));
  checkpoint.add("generation_config.json", files::dump_pretty(generation_json(options.config)));
  if (!tokenizer.empty()) checkpoint.add("tokenizer.model", read_file(tokenizer));
  for (const auto& [name, bytes] : companions) checkpoint.add(name, bytes);

  files::SafetensorsWriter weights, moments;
  weights.metadata("format", "pt");
  moments.metadata("format", "pt");
  const auto& parameters = optimizer.parameters();
  std::vector<std::vector<float>> scaled;  // where there are gains
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const model::TensorSpec& spec = parameters[i]->spec;
    const auto values = floats(parameters[i]->value);
    auto stored = values;
    if (parameters[i]->gain) {
      scaled.emplace_back(values.size());
      llama.stored_values(*parameters[i], scaled.back());
      stored = scaled.back();
    }
    const bool as_bf16 = stored_as_bf16(spec, scheme), in_model = parameters[i]->stored;
    if (as_bf16)
      weights.add(spec.name, Dtype::bf16, spec.shape(), rounded(stored));
    else if (in_model)
      weights.add(spec.name, Dtype::f32, spec.shape(), stored);
    if (as_bf16 || parameters[i]->gain || !in_model)
      moments.add("master." + spec.name, Dtype::f32, spec.shape(), values);
    moments.add("exp_avg." + spec.name, Dtype::f32, spec.shape(), floats(optimizer.first_moments()[i]));
    moments.add("exp_avg_sq." + spec.name, Dtype::f32, spec.shape(), floats(optimizer.second_moments()[i]));
  }
  checkpoint.add("model.safetensors", source_of(weights));
  checkpoint.add("optimizer.safetensors", source_of(moments));
  checkpoint.add("state.json", files::dump_pretty(state_json(state, options)));
  checkpoint.finish();
}

State load_checkpoint(const files::Checkpoint& checkpoint, autograd::Llama& llama, AdamW& optimizer) {
  const model::ModelFolder folder(checkpoint.folder);
  const files::SafetensorsFile weights(checkpoint.folder / "model.safetensors");
  const files::SafetensorsFile moments(checkpoint.folder / "optimizer.safetensors");
  if (!(folder.config() == llama.weights().config))
    fail_input("{} holds a model of another shape than this run's", checkpoint.folder.string());
  const auto& parameters = optimizer.parameters();
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const model::TensorSpec& spec = parameters[i]->spec;
    const bool master = moments.find("master." + spec.name) != nullptr;
    read_tensor(master ? moments : weights, master ? "master." + spec.name : spec.name, spec, parameters[i]->value);
    read_tensor(moments, "exp_avg." + spec.name, spec, optimizer.first_moments()[i]);
    read_tensor(moments, "exp_avg_sq." + spec.name, spec, optimizer.second_moments()[i]);
  }
  const fs::path path = checkpoint.folder / "state.json";
  const Json json = files::read_json(path);
  const std::string where = path.string();
  const auto version = files::required<int>(json, "version", where);
  if (version != kStateVersion)
    fail_input("{}: version {} is unknown; this program reads {}", where, version, kStateVersion);
  State state;
  state.step = files::required<std::int64_t>(json, "step", where);
  state.tokens = files::required<std::int64_t>(json, "tokens", where);
  state.cursor = files::required<std::uint64_t>(files::required<Json>(json, "data", where), "cursor", where);
  state.total_steps =
      files::required<std::int64_t>(files::required<Json>(json, "schedule", where), "total_steps", where);
  if (json.contains("bits")) {
    state.bits_step = files::required<std::int64_t>(files::required<Json>(json, "bits", where), "step", where);
    state.allotted = folder.scheme().layer_formats;
  }
  if (state.tokens < 0 || state.total_steps < 0 || state.bits_step < 0)
    fail_input("{}: a count below 0; the checkpoint is damaged", where);
  // The two ways round the sums of the backward pass differently: a run keeps the one that it was begun with. Runs from
  // before the choice was recorded used the unit wherever there was one.
  choose_bf16_unit(files::optional<bool>(json, "bf16_unit", true, where) ? Bf16Unit::on : Bf16Unit::off);
  if (state.step != checkpoint.step)
    fail_input("{}: step {} stands in the folder of step {}", where, state.step, checkpoint.step);
  return state;
}

void load_weights(const fs::path& path, autograd::Llama& llama) {
  const model::ModelFolder folder(path);
  model::Config wanted = llama.weights().config, found = folder.config();
  found.positions = wanted.positions;  // a context may be trained shorter or longer
  found.bos = wanted.bos;
  found.eos = wanted.eos;
  if (!(found == wanted))
    fail_input("--init {}: its shape is not the one asked for; leave the shape flags out to take it over",
               path.string());
  if (folder.packed())
    fail_input("--init {} is packed, so its weights are codes; name the folder it was packed from", path.string());
  for (const model::StepSpec& spec : model::step_tensors(found, folder.scheme()))
    for (autograd::Parameter& p : llama.steps())
      if (p.spec.name == spec.tensor.name) folder.read_floats(p.spec, {p.value.mutable_data_ptr<float>(), 1});
  for (autograd::Parameter& p : llama.parameters())
    folder.read_floats(p.spec, {p.value.mutable_data_ptr<float>(), static_cast<std::size_t>(p.value.numel())});
}

}  // namespace lowbit::train
