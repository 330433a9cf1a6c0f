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
#include "lowbit/base/words.h"
#include "lowbit/cli/command.h"
#include "lowbit/cli/inspect.h"
#include "lowbit/files/checkpoint.h"
#include "lowbit/files/json.h"
#include "lowbit/files/npy.h"
#include "lowbit/files/run_folder.h"
#include "lowbit/files/safetensors.h"
#include "lowbit/files/token_shard.h"
#include "lowbit/report/metrics.h"
#include "lowbit/text/dataset.h"
#include "lowbit/text/tokenizer.h"

namespace lowbit::cli {
namespace {

namespace fs = std::filesystem;
using files::Json;

std::string bytes_text(std::uint64_t bytes) {
  return fmt::format("{} ({} bytes)", human_bytes(static_cast<double>(bytes)), bytes);
}

/// Adds what was found inside under a key, with its lines below.
void add(Findings& found, std::string_view key, Findings inner) {
  found.json[std::string(key)] = std::move(inner.json);
  found.text += inner.text;
  std::ranges::move(inner.damaged, std::back_inserter(found.damaged));
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
    found.line(fmt::format("  step {}", checkpoint.step), "{}, complete, hashes match",
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
  Findings found = begin_findings("run folder", path);
  if (fs::exists(path / "run.json") || fs::exists(path / "metrics.jsonl")) {
    const report::RunRecords records = report::read_run(path);
    if (!records.steps.empty()) {
      const report::StepRecord& last = records.steps.back();
      found.json["steps"] = last.step;
      found.json["tokens"] = last.tokens;
      found.json["loss"] = last.loss;
      found.line("trained", "{}{}, {} tokens, last loss {:.4f} nats per token", counted(last.step, "step"),
                 records.info && records.info->steps > 0 ? fmt::format(" of {}", records.info->steps) : "",
                 human_count(static_cast<double>(last.tokens)), last.loss);
    }
    if (!records.evals.empty()) {
      const report::EvalRecord& last = records.evals.back();
      found.json["held_out"] = {{"step", last.step},
                                {"nats_per_token", last.nats_per_token},
                                {"bits_per_byte", last.bits_per_byte ? Json(*last.bits_per_byte) : Json()}};
      found.line("held out", "{:.4f} nats per token{} at step {}", last.nats_per_token,
                 last.bits_per_byte ? fmt::format(", {:.4f} bits per byte", *last.bits_per_byte) : "", last.step);
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
    add(found, "model", inspect_model(newest->folder));
  }
  return found;
}

Findings checkpoint_folder(const fs::path& path, std::int64_t step) {
  Findings found = begin_findings("checkpoint", path);
  const Json row = checkpoint_row({path, step}, found);
  found.json.update(row);
  if (row["complete"].get<bool>()) add(found, "model", inspect_model(path));
  return found;
}

// ---- data ----

Findings token_shard(const fs::path& path) {
  Findings found = begin_findings("token shard", path);
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
  found.line("tokens", "{} of {} ids, {} bytes each; hashes match", counts.tokens, counts.vocabulary, shard.width());
  if (counts.documents)
    found.line("text", "{} in {}, {:.3f} bytes per token", bytes_text(counts.bytes),
               counted(counts.documents, "document"),
               static_cast<double>(counts.bytes) / static_cast<double>(counts.tokens));
  if (counts.tokenizer_hash) found.line("tokenizer", "hash {}", hash_text(counts.tokenizer_hash));
  return found;
}

Findings tokenizer(const fs::path& path) {
  const auto loaded = text::Tokenizer::load(path);
  Findings found = begin_findings("tokenizer", path);
  found.json["vocabulary"] = loaded.vocabulary();
  found.json["exact"] = loaded.exact();
  found.json["hash"] = hash_text(loaded.hash());
  found.json["bytes"] = loaded.file_bytes().size();
  found.line("vocabulary", "{} ids", loaded.vocabulary());
  found.line("text", "{}",
             loaded.exact() ? "is restored exactly" : "may not be restored exactly (the tokenizer normalizes it)");
  found.line("hash", "{}; see also: lowbit tokenizer inspect", hash_text(loaded.hash()));
  return found;
}

Findings data_folder(const fs::path& path) {
  Findings found = begin_findings("data folder", path);
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
  Findings found = begin_findings("safetensors", path);
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
  found.line("total", "{}, {}, {}", counted(file.tensors().size(), "tensor"), counted(elements, "value"),
             bytes_text(file.file_bytes()));
  return found;
}

Findings npy(const fs::path& path) {
  Findings found = begin_findings("npy", path);
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
  if (fs::exists(path / "config.json")) return inspect_model(path);
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
    std::cout << shown(found.text);  // names in files may hold what a terminal would obey
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
