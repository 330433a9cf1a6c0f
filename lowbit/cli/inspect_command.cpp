#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lowbit/base/error.h"
#include "lowbit/base/file_map.h"
#include "lowbit/base/hash.h"
#include "lowbit/base/progress.h"
#include "lowbit/cli/command.h"
#include "lowbit/files/checkpoint.h"
#include "lowbit/files/json.h"
#include "lowbit/files/npy.h"
#include "lowbit/files/run_folder.h"
#include "lowbit/files/safetensors.h"
#include "lowbit/files/token_shard.h"
#include "lowbit/formats/layout.h"
#include "lowbit/model/model_folder.h"
#include "lowbit/report/metrics.h"
#include "lowbit/text/dataset.h"
#include "lowbit/text/tokenizer.h"

namespace lowbit::cli {
namespace {

namespace fs = std::filesystem;
using files::Json;

/// What was found, for people and for machines, and one line for each thing that is damaged.
struct Findings {
  Json json;
  std::string text;
  std::vector<std::string> damaged;

  template <class... Args>
  void line(std::string_view label, fmt::format_string<Args...> format, Args&&... args) {
    text += fmt::format("{:<15}{}\n", label, fmt::format(format, std::forward<Args>(args)...));
  }
};

std::string bytes_text(std::uint64_t bytes) {
  return fmt::format("{} ({} bytes)", human_bytes(static_cast<double>(bytes)), bytes);
}

double bits_per_weight(std::uint64_t bytes, std::int64_t weights) {
  return weights > 0 ? 8.0 * static_cast<double>(bytes) / static_cast<double>(weights) : 0;
}

Findings begin(std::string_view kind, const fs::path& path) {
  Findings found;
  found.json["kind"] = kind;
  found.json["path"] = path.string();
  found.line(kind, "{}", path.string());
  return found;
}

/// Adds what was found inside under a key, with its lines below.
void add(Findings& found, std::string_view key, Findings inner) {
  found.json[std::string(key)] = std::move(inner.json);
  found.text += inner.text;
  std::ranges::move(inner.damaged, std::back_inserter(found.damaged));
}

// ---- model folders ----

struct Part {
  std::string_view name;
  std::size_t tensors = 0;
  std::int64_t weights = 0;
  std::uint64_t bytes = 0;  ///< as stored, scales included
  std::string stored;       ///< "BF16", "codes of w4 + scales"
};

std::size_t part_of(model::TensorRole role) {
  using model::TensorRole;
  if (role == TensorRole::embedding) return 0;
  if (role == TensorRole::norm) return 2;
  return role == TensorRole::head ? 3 : 1;
}

void note_stored(Part& part, const std::string& how) {
  if (part.stored.find(how) == std::string::npos) part.stored += (part.stored.empty() ? "" : ", ") + how;
}

/// Counts one tensor and reads all of it: weights and scales finite, every code one that its grid has.
void count_tensor(const model::ModelFolder& folder, const model::TensorSpec& spec, Part& part) {
  ++part.tensors;
  part.weights += spec.elements();
  if (!folder.is_coded(spec)) {
    const auto& view = folder.tensor(spec);
    part.bytes += view.bytes.size();
    note_stored(part, std::string(files::dtype_name(view.dtype)));
    std::vector<float> values(static_cast<std::size_t>(spec.elements()));
    folder.read_floats(spec, values);
    return;
  }
  const Grid& grid = *model::coding_of(spec, folder.scheme()).format.weight;
  const auto codes = folder.codes(spec);
  const auto offsets = folder.offsets(spec);
  part.bytes += codes.size() + folder.scales(spec).size_bytes() + offsets.size_bytes();
  note_stored(part, fmt::format("{}-bit codes{}{}", grid.storage_bits, grid.dense ? " of 2 of 4 pairs" : "",
                                offsets.empty() ? " and scales" : ", scales and offsets"));
  const auto columns = static_cast<std::size_t>(spec.columns);
  const std::size_t row_bytes = stored_row_bytes(grid, columns);
  std::vector<std::uint8_t> row(columns);
  for (std::size_t i = 0; i < static_cast<std::size_t>(spec.rows); ++i)
    unpack_stored(grid, codes.subspan(i * row_bytes, row_bytes), row);
}

void describe_config(Findings& found, const model::ModelFolder& folder) {
  const model::Config& c = folder.config();
  const Scheme& s = folder.scheme();
  found.json["config"] = {{"layers", c.layers},     {"width", c.width},
                          {"heads", c.heads},       {"kv_heads", c.kv_heads},
                          {"head_dim", c.head_dim}, {"mlp", c.mlp},
                          {"vocab", c.vocab},       {"positions", c.positions},
                          {"tied", c.tied},         {"qk_norm", c.qk_norm},
                          {"parameters", c.parameters()}};
  found.json["format"] = s.format.name();
  if (!s.layer_formats.empty()) found.json["layer_formats"] = text_of(s.layer_formats);
  found.json["head"] = s.head.name();
  found.json["attention"] = name_of(s.attention);
  found.json["packed"] = folder.packed();
  found.line("shape",
             "{} layers, width {}, {} heads of {} ({} key-value{}), mlp {}, vocabulary {}, context {}: {} parameters",
             c.layers, c.width, c.heads, c.head_dim, c.kv_heads, c.qk_norm ? ", normed" : "", c.mlp, c.vocab, c.positions,
             human_count(static_cast<double>(c.parameters())));
  std::string arithmetic =
      fmt::format("{}, head {}, attention {}", s.name(), s.head.name(), name_of(s.attention));
  if (s.quantized()) {
    found.json["estimator"] = name_of(s.estimator);
    found.json["transform"] = name_of(s.transform);
    found.json["scale"] = name_of(s.scale);
    if (s.scale_group != 0) found.json["scale_group"] = s.scale_group;
    found.json["grid"] = name_of(s.grid);
    if (std::ranges::any_of(s.words(), &Format::pairs)) found.json["sparse_scale"] = name_of(s.sparse_scale);
    arithmetic += fmt::format(", estimator {}, transform {}{}, {}", name_of(s.estimator), name_of(s.transform), s.variations(),
                              folder.packed() ? "packed" : "float weights, coded when they are loaded");
  }
  found.line("arithmetic", "{}", arithmetic);
}

/// What each layer's format takes where layers have formats of their own: packed bits a weight, scales included.
void describe_layers(Findings& found, const model::ModelFolder& folder) {
  if (folder.scheme().layer_formats.empty()) return;
  Json list = Json::array();
  found.text += "\nbits a weight of each layer, packed, scales included\n";
  for (const std::string_view heading : kLayerKinds) found.text += fmt::format("{}{:<15}", heading == "q" ? "block  " : "", heading);
  for (const model::TensorSpec& spec : model::tensors(folder.config())) {
    if (!spec.linear()) continue;
    const model::TensorCoding coding = model::coding_of(spec, folder.scheme());
    const Format& format = coding.format;
    const auto bytes = static_cast<std::uint64_t>(model::stored_bytes(spec, format, coding.weight.scale_group).total());
    const double bits = bits_per_weight(bytes, spec.elements());
    if (spec.role == model::TensorRole::q) found.text += fmt::format("\n{:<7}", spec.layer);
    found.text += fmt::format("{:<15}", fmt::format("{} {:.3f}", format.name(), bits));
    list.push_back({{"layer", layer_name(spec.layer, model::kind_of(spec.role))},
                    {"format", format.name()},
                    {"weights", spec.elements()},
                    {"bytes", bytes},
                    {"bits_per_weight", bits}});
  }
  found.text += '\n';
  found.json["layers"] = list;
}

Findings model_folder(const fs::path& path) {
  Findings found = begin("model folder", path);
  const model::ModelFolder folder(path);
  describe_config(found, folder);
  Part parts[] = {{"embedding"}, {"blocks"}, {"norms"}, {"head"}};
  for (const model::TensorSpec& spec : model::tensors(folder.config()))
    count_tensor(folder, spec, parts[part_of(spec.role)]);
  Part total{"total"};
  Json list = Json::array();
  found.text += fmt::format("\n{:<11}{:>8}{:>13}{:>15}{:>13}  {}\n", "part", "tensors", "weights", "bytes",
                            "bits/weight", "stored as");
  const auto row = [&](const Part& part) {
    const double bits = bits_per_weight(part.bytes, part.weights);
    found.text += fmt::format("{:<11}{:>8}{:>13}{:>15}{:>13.3f}{}{}\n", part.name, part.tensors, part.weights,
                              part.bytes, bits, part.stored.empty() ? "" : "  ", part.stored);
    list.push_back({{"part", part.name},
                    {"tensors", part.tensors},
                    {"weights", part.weights},
                    {"bytes", part.bytes},
                    {"bits_per_weight", bits},
                    {"stored_as", part.stored}});
  };
  for (const Part& part : parts) {
    if (part.tensors == 0) continue;
    row(part);
    total.tensors += part.tensors;
    total.weights += part.weights;
    total.bytes += part.bytes;
  }
  found.json["parts"] = list;
  found.json["bytes"] = total.bytes;
  found.json["bits_per_weight"] = bits_per_weight(total.bytes, total.weights);
  total.stored = folder.config().tied ? "the head is the embedding" : "";
  row(total);
  describe_layers(found, folder);
  if (fs::exists(path / text::kTokenizerFile)) {
    const auto tokenizer = text::Tokenizer::load(path / text::kTokenizerFile);
    found.json["tokenizer"] = {{"vocabulary", tokenizer.vocabulary()}, {"hash", hash_text(tokenizer.hash())}};
    found.line("\ntokenizer", " {} ids, hash {}", tokenizer.vocabulary(), hash_text(tokenizer.hash()));
    if (tokenizer.vocabulary() > static_cast<std::size_t>(folder.config().vocab))
      found.damaged.push_back(fmt::format("{}: the tokenizer has {} ids, the model {}", path.string(),
                                          tokenizer.vocabulary(), folder.config().vocab));
  }
  return found;
}

// ---- checkpoints and run folders ----

/// The manifest's verdict on one checkpoint, every hash compared.
Json checkpoint_row(const files::Checkpoint& checkpoint, Findings& found) {
  Json row{{"step", checkpoint.step}};
  try {
    std::uint64_t bytes = 0;
    for (const auto& file : files::verify_checkpoint(checkpoint, files::Verify::hashes)) bytes += file.bytes;
    row["bytes"] = bytes;
    row["complete"] = true;
    found.line(fmt::format("  step {}", checkpoint.step), "{}, complete, hashes right",
               human_bytes(static_cast<double>(bytes)));
  } catch (const Error& error) {
    row["complete"] = false;
    row["damage"] = error.what();
    found.line(fmt::format("  step {}", checkpoint.step), "damaged: {}", error.what());
    found.damaged.push_back(error.what());
  }
  return row;
}

Findings run_folder(const fs::path& path) {
  Findings found = begin("run folder", path);
  if (fs::exists(path / "run.json") || fs::exists(path / "metrics.jsonl")) {
    const report::RunRecords records = report::read_run(path);
    if (!records.steps.empty()) {
      const report::StepRecord& last = records.steps.back();
      found.json["steps"] = last.step;
      found.json["tokens"] = last.tokens;
      found.json["loss"] = last.loss;
      found.line("trained", "{} steps{}, {} tokens, last loss {:.4f} nats a token", last.step,
                 records.info && records.info->steps > 0 ? fmt::format(" of {}", records.info->steps) : "",
                 human_count(static_cast<double>(last.tokens)), last.loss);
    }
    if (!records.evals.empty()) {
      const report::EvalRecord& last = records.evals.back();
      found.json["held_out"] = {{"step", last.step},
                                {"nats_per_token", last.nats_per_token},
                                {"bits_per_byte", last.bits_per_byte ? Json(*last.bits_per_byte) : Json()}};
      found.line("held out", "{:.4f} nats a token{} at step {}", last.nats_per_token,
                 last.bits_per_byte ? fmt::format(", {:.4f} bits a byte", *last.bits_per_byte) : "", last.step);
    }
    for (const std::string& note : records.notes) found.line("note", "{}", note);
  }
  Json rows = Json::array();
  found.text += "checkpoints\n";
  std::optional<files::Checkpoint> newest;
  for (const files::Checkpoint& checkpoint : files::list_checkpoints(path)) {
    rows.push_back(checkpoint_row(checkpoint, found));
    if (rows.back()["complete"].get<bool>()) newest = checkpoint;
  }
  if (rows.empty()) found.text += "  none\n";
  found.json["checkpoints"] = rows;
  if (newest) {
    found.text += '\n';
    add(found, "model", model_folder(newest->folder));
  }
  return found;
}

Findings checkpoint_folder(const fs::path& path, std::int64_t step) {
  Findings found = begin("checkpoint", path);
  const Json row = checkpoint_row({path, step}, found);
  found.json.update(row);
  if (row["complete"].get<bool>()) add(found, "model", model_folder(path));
  return found;
}

// ---- data ----

Findings token_shard(const fs::path& path) {
  Findings found = begin("token shard", path);
  const files::TokenShard shard(path);
  shard.verify();
  const files::TokenShardCounts& counts = shard.counts();
  found.json["tokens"] = counts.tokens;
  found.json["vocabulary"] = counts.vocabulary;
  found.json["bytes_per_id"] = shard.width();
  found.json["documents"] = counts.documents ? Json(counts.documents) : Json();
  found.json["text_bytes"] = counts.documents ? Json(counts.bytes) : Json();
  found.json["tokenizer_hash"] = counts.tokenizer_hash ? Json(hash_text(counts.tokenizer_hash)) : Json();
  found.json["bytes"] = fs::file_size(path);
  found.line("tokens", "{} of {} ids, {} bytes each; hashes right", counts.tokens, counts.vocabulary, shard.width());
  if (counts.documents)
    found.line("text", "{} in {} documents, {:.3f} bytes a token", bytes_text(counts.bytes), counts.documents,
               static_cast<double>(counts.bytes) / static_cast<double>(counts.tokens));
  if (counts.tokenizer_hash) found.line("tokenizer", "hash {}", hash_text(counts.tokenizer_hash));
  return found;
}

Findings tokenizer(const fs::path& path) {
  const auto loaded = text::Tokenizer::load(path);
  Findings found = begin("tokenizer", path);
  found.json["vocabulary"] = loaded.vocabulary();
  found.json["exact"] = loaded.exact();
  found.json["hash"] = hash_text(loaded.hash());
  found.json["bytes"] = loaded.file_bytes().size();
  found.line("vocabulary", "{} ids", loaded.vocabulary());
  found.line("text", "{}", loaded.exact() ? "comes back exactly" : "may come back changed (its flags normalize)");
  found.line("hash", "{}; more by: lowbit tokenizer inspect", hash_text(loaded.hash()));
  return found;
}

Findings data_folder(const fs::path& path) {
  Findings found = begin("data folder", path);
  std::string hash;
  if (fs::exists(path / text::kTokenizerFile)) {
    Findings inner = tokenizer(path / text::kTokenizerFile);
    hash = inner.json["hash"].get<std::string>();
    add(found, "tokenizer", std::move(inner));
  }
  for (const auto& [key, file] : {std::pair("train", text::kTrainShard), {"valid", text::kValidShard}}) {
    if (!fs::exists(path / file)) continue;
    found.text += '\n';
    Findings inner = token_shard(path / file);
    const Json& of = inner.json["tokenizer_hash"];
    if (!hash.empty() && of.is_string() && of.get<std::string>() != hash)
      found.damaged.push_back(fmt::format("{}: made with a tokenizer of hash {}, the folder's is {}",
                                          (path / file).string(), of.get<std::string>(), hash));
    add(found, key, std::move(inner));
  }
  return found;
}

// ---- single files ----

Findings safetensors(const fs::path& path) {
  Findings found = begin("safetensors", path);
  const files::SafetensorsFile file(path);
  Json list = Json::array();
  std::size_t widest = 0;
  for (const auto& tensor : file.tensors()) widest = std::max(widest, tensor.name.size());
  std::int64_t elements = 0;
  for (const auto& [key, value] : file.metadata()) {
    found.json["metadata"][key] = value;
    found.line("metadata", "{} = {}", key, value);
  }
  for (const auto& tensor : file.tensors()) {
    elements += tensor.elements();
    list.push_back({{"name", tensor.name},
                    {"dtype", files::dtype_name(tensor.dtype)},
                    {"shape", tensor.shape},
                    {"bytes", tensor.bytes.size()}});
    found.text += fmt::format("  {:<{}}  {:<5}{:<16}{:>14}\n", tensor.name, widest, files::dtype_name(tensor.dtype),
                              tensor.shape_text(), tensor.bytes.size());
  }
  found.json["tensors"] = list;
  found.json["bytes"] = file.file_bytes();
  found.line("total", "{} tensors, {} values, {}", file.tensors().size(), elements, bytes_text(file.file_bytes()));
  return found;
}

Findings npy(const fs::path& path) {
  Findings found = begin("npy", path);
  const files::NpyArray array = files::read_npy(path);
  found.json["shape"] = array.shape;
  found.line("float32", "[{}]", fmt::join(array.shape, ", "));
  return found;
}

/// The step of a folder that is a checkpoint in its place; a copy under another name is a model folder.
std::optional<std::int64_t> checkpoint_step(const fs::path& path) {
  const fs::path manifest = path / "manifest.json";
  if (!path.filename().string().starts_with("step-") || !fs::exists(manifest)) return std::nullopt;
  return files::required<std::int64_t>(files::read_json(manifest), "step", manifest.string());
}

Findings inspect_folder(const fs::path& path) {
  if (const auto step = checkpoint_step(path)) return checkpoint_folder(path, *step);
  if (fs::exists(path / "config.json")) return model_folder(path);
  if (files::is_run_folder(path)) return run_folder(path);
  if (fs::exists(path / text::kTrainShard) || fs::exists(path / text::kValidShard)) return data_folder(path);
  if (fs::exists(path / text::kTokenizerFile)) return tokenizer(path / text::kTokenizerFile);
  fail_input("folder {} holds no config.json, checkpoints, {} or {}: no model, run or data folder, and no tokenizer",
             path.string(), text::kTrainShard, text::kTokenizerFile);
}

Findings inspect_file(const fs::path& path) {
  std::string start;
  {
    const FileMap map(path);
    start.assign(reinterpret_cast<const char*>(map.bytes().data()), std::min<std::size_t>(map.size(), 9));
  }
  if (path.extension() == ".lbd" || start.starts_with("LOWBITD")) return token_shard(path);
  if (path.extension() == ".safetensors" || (start.size() == 9 && start[8] == '{')) return safetensors(path);
  if (start.starts_with("\x93NUMPY")) return npy(path);
  return tokenizer(path);
}

void inspect(const fs::path& given, bool json) {
  std::error_code error;
  const fs::path path = given.has_filename() ? given : given.parent_path();  // "run/" is "run"
  if (!fs::exists(path, error)) fail_input("there is no file or folder {}", path.string());
  const Findings found = fs::is_directory(path, error) ? inspect_folder(path) : inspect_file(path);
  if (json) {
    Json out = found.json;
    out["damaged"] = found.damaged;
    std::cout << files::dump_line(out) << '\n';
  } else {
    std::cout << found.text;
  }
  std::cout.flush();
  if (!found.damaged.empty())
    fail_input("{}{}", found.damaged.front(),
               found.damaged.size() > 1 ? fmt::format(" (and {} more above)", found.damaged.size() - 1) : "");
}

}  // namespace

void add_inspect(CLI::App& verb) {
  struct Flags {
    fs::path path;
    CommonFlags common;
  };
  const auto flags = std::make_shared<Flags>();
  add_option(verb, "path", flags->path,
          "model, packed, run or data folder, checkpoint, or file: safetensors, token shard, tokenizer, .npy")
      ->required();
  add_common(verb, flags->common, false);
  verb.callback([flags] { inspect(flags->path, flags->common.json); });
}

}  // namespace lowbit::cli
