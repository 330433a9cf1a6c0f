#include "fuzz/targets.h"

#include <fmt/format.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>

#include "fuzz/scratch.h"
#include "lowbit/base/error.h"
#include "lowbit/base/executor.h"
#include "lowbit/base/hash.h"
#include "lowbit/files/checkpoint.h"
#include "lowbit/files/json.h"
#include "lowbit/files/npy.h"
#include "lowbit/files/safetensors.h"
#include "lowbit/files/token_shard.h"
#include "lowbit/files/toml_text.h"
#include "lowbit/laws/points.h"
#include "lowbit/model/model_folder.h"
#include "lowbit/nn/load.h"
#include "lowbit/report/metrics.h"
#include "lowbit/report/run_report.h"
#include "lowbit/run/engine.h"
#include "lowbit/run/sampler.h"
#include "lowbit/study/runs.h"
#include "lowbit/study/sweep_plan.h"
#include "lowbit/text/reader.h"
#include "lowbit/text/tokenizer.h"

namespace lowbit::fuzz {
namespace {

/// Reads every byte, so that the address sanitizer sees a view that leaves its file.
unsigned sum_of(std::span<const std::byte> bytes) {
  unsigned sum = 0;
  for (const std::byte b : bytes) sum += static_cast<unsigned>(b);
  return sum;
}

void must(bool good, std::string_view what) {
  if (!good) throw std::logic_error(std::string(what));
}

void safetensors(std::string_view bytes) {
  const MemoryFile memory(bytes);
  const files::SafetensorsFile file(memory.path());
  unsigned sum = 0;
  for (const files::TensorView& tensor : file.tensors()) {
    must(file.find(tensor.name) == &tensor, "a tensor is not found by its name");
    sum += sum_of(tensor.bytes) + static_cast<unsigned>(tensor.floats().size());
  }
  must(sum < ~0u || bytes.size() > (1u << 24), "sum");
}

void token_shard(std::string_view bytes) {
  // Hashes are made good, or nothing behind the first check would ever be reached.
  std::string fixed(bytes);
  if (fixed.size() >= 128) {
    const std::uint64_t hash = hash_bytes(std::as_bytes(std::span(fixed)).first(120));
    std::memcpy(fixed.data() + 120, &hash, 8);
    const auto word = [&](std::size_t at) {
      std::uint64_t value;
      std::memcpy(&value, fixed.data() + at, 8);
      return value;
    };
    std::uint32_t width;
    std::memcpy(&width, fixed.data() + 12, 4);
    const std::uint64_t tokens = word(32), documents = word(40), room = fixed.size() - 128;
    if ((width == 2 || width == 4) && tokens <= room / width && documents <= room / 16) {
      const std::size_t token_bytes = tokens * width, padded = (token_bytes + 7) / 8 * 8;
      if (128 + padded + 16 * documents == fixed.size()) {
        const auto all = std::as_bytes(std::span(fixed));
        const std::uint64_t hashes[3] = {hash_bytes(all.subspan(128, token_bytes)),
                                         hash_bytes(all.subspan(128 + padded, 8 * documents)),
                                         hash_bytes(all.subspan(128 + padded + 8 * documents, 8 * documents))};
        std::memcpy(fixed.data() + 56, hashes, sizeof hashes);
        const std::uint64_t again = hash_bytes(all.first(120));
        std::memcpy(fixed.data() + 120, &again, 8);
      }
    }
  }
  const MemoryFile memory(fixed);
  const files::TokenShard shard(memory.path());
  shard.verify();
  std::vector<std::uint32_t> ids(static_cast<std::size_t>(std::min<std::uint64_t>(shard.tokens(), 1 << 16)));
  shard.copy(shard.tokens() - ids.size(), ids);
  for (const std::uint32_t id : ids) must(id < shard.counts().vocabulary, "an id outside the vocabulary");
}

void json(std::string_view bytes) {
  files::dump_pretty(files::parse_json(bytes, "x"));
  must(!files::parse_large_json(bytes, "x").is_discarded(), "discarded");
}

void config_json(std::string_view bytes) {
  const auto description = model::parse_config(files::parse_json(bytes, "config.json"), "config.json");
  const auto again = model::parse_config(model::config_json(description), "again");
  must(again.config == description.config, "a configuration does not come back");
}

void toml(std::string_view bytes) { must(files::parse_toml(bytes, "x.toml").size() <= bytes.size(), "size"); }
void sweep_plan(std::string_view bytes) { must(!study::parse_plan(bytes, "x.toml").cells.empty(), "no cells"); }
void fit_csv(std::string_view bytes) { must(!laws::read_csv(bytes, "x.csv").points.empty(), "no points"); }

void npy(std::string_view bytes) {
  const MemoryFile memory(bytes);
  must(files::read_npy(memory.path()).values.size() <= bytes.size(), "more values than bytes");
}

void tokenizer(std::string_view bytes) {
  const auto tokenizer = text::Tokenizer::from_bytes(std::string(bytes), "tokenizer.model");
  for (const std::string_view text :
       {"the house of 42\n  aaaa", "\xE2\x96\x81x \u00E9\u4E2D\U0001F600", "aaaaaaaaaaaaaaaa"}) {
    const auto ids = tokenizer.encode_document(text);
    for (const text::TokenId id : ids) must(id < tokenizer.vocabulary(), "an id outside the vocabulary");
    const std::string back = tokenizer.decode(ids);
    if (tokenizer.exact()) must(back == text, "the text does not come back");
  }
}

void read_texts(std::string_view name, std::string_view bytes) {
  const ScratchFolder folder;
  folder.put(name, bytes);
  text::ReadOptions options;
  options.document_line = "--";
  text::TextReader reader({folder.path() / name}, options);
  std::uint64_t size = 0;
  // Archives of a few kilobytes may hold gigabytes; the rest of them is like their beginning.
  for (text::TextPiece piece; size < (std::uint64_t{64} << 20) && reader.next(piece);) size += piece.text.size() + 1;
}
void text_plain(std::string_view bytes) { read_texts("x.txt", bytes); }
void text_lines(std::string_view bytes) { read_texts("x.jsonl", bytes); }

void run_folder(std::string_view bytes) {
  // run.json up to the first line "@@@", then metrics.jsonl.
  const std::size_t cut = bytes.find("@@@\n");
  const ScratchFolder folder;
  folder.put("run.json", bytes.substr(0, cut));
  if (cut != std::string_view::npos) folder.put("metrics.jsonl", bytes.substr(cut + 4));
  const report::RunRecords records = report::read_run(folder.path());
  must(!report::run_page(records).empty(), "no page");
  study::points_of({study::read_run(folder.path())});
}

void manifest(std::string_view bytes) {
  const ScratchFolder folder;
  folder.put("checkpoints/step-7/manifest.json", bytes);
  folder.put("checkpoints/step-7/state.json", "{}");
  files::newest_complete(folder.path(), files::Verify::hashes);
  files::verify_checkpoint({folder.path() / "checkpoints/step-7", 7}, files::Verify::hashes);
}

/// A whole model folder, opened, loaded and run for a few tokens.
void model_folder(std::string_view bytes) {
  const ScratchFolder scratch;
  for (const auto& [name, content] : split_files(bytes)) scratch.put(name, content);
  const model::ModelFolder folder(scratch.path());
  SerialExecutor executor;
  const auto positions = static_cast<std::size_t>(std::min<std::int64_t>(16, folder.config().positions));
  const nn::LlamaWeights weights = nn::load_llama(executor, folder, positions);
  std::vector<std::int32_t> prompt{0};
  if (std::filesystem::exists(scratch.path() / text::kTokenizerFile)) {
    const auto tokenizer = text::Tokenizer::load(scratch.path());
    for (const text::TokenId id : tokenizer.encode("the house"))
      if (prompt.size() < positions && static_cast<std::int64_t>(id) < folder.config().vocab)
        prompt.push_back(static_cast<std::int32_t>(id));
  }
  run::Engine engine(executor, weights, 8);
  run::Sequence sequence(weights, positions);
  run::SamplerOptions options;
  options.temperature = 0.8;
  run::Sampler sampler(options, static_cast<std::size_t>(folder.config().vocab));
  std::vector<float> logits(static_cast<std::size_t>(folder.config().vocab));
  engine.feed(sequence, prompt, logits.data());
  for (std::size_t i = prompt.size(); i < positions; ++i) {
    for (const float x : logits)
      if (!(x - x == 0)) fail("logits are not finite");
    const std::int32_t token = sampler.choose(logits, i);
    must(token >= 0 && token < folder.config().vocab, "a token outside the vocabulary");
    engine.feed(sequence, {&token, 1}, logits.data());
  }
}

constexpr Target kTargets[] = {
    {"safetensors", safetensors},
    {"token_shard", token_shard},
    {"json", json},
    {"config_json", config_json},
    {"toml", toml},
    {"sweep_plan", sweep_plan},
    {"fit_csv", fit_csv},
    {"npy", npy},
    {"tokenizer", tokenizer},
    {"text_plain", text_plain},
    {"text_lines", text_lines},
    {"run_folder", run_folder},
    {"manifest", manifest},
    {"model_folder", model_folder},
};

constexpr std::string_view kMark = "@@@ ";
constexpr std::array<std::string_view, 8> kNames{
    "config.json",     "generation_config.json",           "model.safetensors",
    "tokenizer.model", "model.safetensors.index.json",     "model-00001-of-00002.safetensors",
    "tokenizer.bin",   "model-00002-of-00002.safetensors",
};

}  // namespace

std::span<const Target> targets() { return kTargets; }

void run(const Target& target, std::string_view bytes) {
  try {
    target.run(bytes);
  } catch (const Error&) {
  }
}

std::string join_files(const std::vector<std::pair<std::string, std::string>>& files) {
  std::string joined;
  for (const auto& [name, content] : files) joined += std::string(kMark) + name + "\n" + content;
  return joined;
}

std::vector<std::pair<std::string, std::string>> split_files(std::string_view bytes) {
  std::vector<std::pair<std::string, std::string>> files;
  while (!bytes.empty()) {
    std::size_t cut = std::string_view::npos;
    std::string_view next;
    for (std::size_t at = bytes.find(kMark); at != std::string_view::npos && next.empty();
         at = bytes.find(kMark, at + 1))
      for (const std::string_view name : kNames)
        if (bytes.substr(at + kMark.size()).starts_with(std::string(name) + "\n")) cut = at, next = name;
    if (!files.empty()) files.back().second = bytes.substr(0, cut);
    if (cut == std::string_view::npos) break;
    files.emplace_back(next, "");
    bytes.remove_prefix(cut + kMark.size() + next.size() + 1);
  }
  return files;
}

}  // namespace lowbit::fuzz
