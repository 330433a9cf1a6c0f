#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "lowbit/base/error.h"
#include "lowbit/base/progress.h"
#include "lowbit/base/words.h"
#include "lowbit/cli/command.h"
#include "lowbit/cli/text_flags.h"
#include "lowbit/eval/evaluate.h"
#include "lowbit/files/json.h"
#include "lowbit/text/dataset.h"

namespace lowbit::cli {
namespace {

struct DataFlags {
  text::TextDataOptions text;
  std::vector<std::filesystem::path> tokens_u16, tokens_u32;
  std::uint64_t vocabulary = 0;
  std::filesystem::path out;
  bool force = false;
  CommonFlags common;
};

double share(std::uint64_t part, std::uint64_t whole) {
  return whole ? static_cast<double>(part) / static_cast<double>(whole) : 0;
}

/// What the tokenizer loses: text outside its vocabulary, of which a model sees only that there was something.
void tell_unknown(const text::DataSummary& summary) {
  const double unknown =
      std::max(share(summary.train_unknown, summary.train.tokens), share(summary.valid_unknown, summary.valid.tokens));
  if (unknown == 0) return;
  fmt::print(
      stderr,
      "lowbit: warning: {:.3g} % of the training tokens and {:.3g} % of the held-out ones are <unk>: text that this "
      "tokenizer cannot express is lost{}\n",
      100 * share(summary.train_unknown, summary.train.tokens),
      100 * share(summary.valid_unknown, summary.valid.tokens),
      unknown > eval::kMostUnknown ? ", so no bits per byte will be told; train a tokenizer on this text" : "");
}

files::Json shard_json(const files::TokenShardCounts& counts, std::uint64_t unknown) {
  files::Json json;
  json["tokens"] = counts.tokens;
  json["documents"] = counts.documents ? files::Json(counts.documents) : files::Json();
  json["bytes"] = counts.documents ? files::Json(counts.bytes) : files::Json();
  json["unknown_share"] = counts.documents ? files::Json(share(unknown, counts.tokens)) : files::Json();
  return json;
}

void print_shard(const char* name, const files::TokenShardCounts& counts) {
  std::string line = fmt::format("{:<6} {:>10} tokens", name, human_count(static_cast<double>(counts.tokens)));
  if (counts.documents) {
    line += fmt::format("  {:>9}  {:.3f} bytes per token", human_bytes(static_cast<double>(counts.bytes)),
                        static_cast<double>(counts.bytes) / static_cast<double>(counts.tokens));
    line += "  " + counted(counts.documents, "document");
  }
  std::cout << line << '\n';
}

text::DataSummary make(const DataFlags& flags, bool raw) {
  if (!raw) {
    if (flags.text.tokenizer.empty())
      fail_usage("'lowbit data' needs --tokenizer FILE; lowbit tokenizer train makes one");
    if (flags.vocabulary)
      fail_usage("--vocab-size goes with --tokens-u16 or --tokens-u32; text has that of its tokenizer");
    text::TextDataOptions options = flags.text;
    options.out = {flags.out, flags.force};
    options.threads = apply_common(flags.common);
    return text::make_text_data(options);
  }
  if (!flags.text.in.empty() || (!flags.tokens_u16.empty() && !flags.tokens_u32.empty()))
    fail_usage("--in, --tokens-u16 and --tokens-u32 exclude each other; give one of them");
  if (!flags.text.tokenizer.empty()) fail_usage("--tokenizer goes with text; token files are taken as they are");
  if (!flags.vocabulary) fail_usage("token files need --vocab-size N: ids are 0 to N - 1");
  text::RawDataOptions options;
  options.in = flags.tokens_u16.empty() ? flags.tokens_u32 : flags.tokens_u16;
  options.width = flags.tokens_u16.empty() ? 4 : 2;
  options.valid_in = flags.text.valid_in;
  options.valid_share = flags.text.valid_share;
  options.vocabulary = flags.vocabulary;
  options.out = {flags.out, flags.force};
  return text::make_raw_data(options);
}

void run_data(const DataFlags& flags) {
  const bool raw = !flags.tokens_u16.empty() || !flags.tokens_u32.empty();
  if (!raw && flags.text.in.empty())
    fail_usage("'lowbit data' needs text by --in, or token files by --tokens-u16 or --tokens-u32");
  const auto start = std::chrono::steady_clock::now();
  const text::DataSummary summary = make(flags, raw);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  tell_unknown(summary);
  const double megabytes = static_cast<double>(summary.train.bytes + summary.valid.bytes) / 1e6;
  if (flags.common.json) {
    files::Json json;
    json["out"] = flags.out.string();
    json["vocabulary"] = summary.train.vocabulary;
    json["train"] = shard_json(summary.train, summary.train_unknown);
    json["valid"] = shard_json(summary.valid, summary.valid_unknown);
    json["split"] = summary.split;
    json["empty_documents_left_out"] = summary.empty_documents;
    json["seconds"] = seconds;
    json["megabytes_per_second"] = raw ? files::Json() : files::Json(megabytes / seconds);
    std::cout << files::dump_line(json) << '\n';
    return;
  }
  print_shard("train", summary.train);
  print_shard("valid", summary.valid);
  std::cout << summary.split << '\n';
  if (summary.empty_documents) std::cout << counted(summary.empty_documents, "empty document") << " left out\n";
  std::cout << flags.out.string() << " written in " << human_time(seconds);
  if (!raw) std::cout << fmt::format(", {:.1f} MB/s", megabytes / seconds);
  std::cout << '\n';
}

}  // namespace

void add_data(CLI::App& verb) {
  const auto flags = std::make_shared<DataFlags>();
  add_option(verb, "--in", flags->text.in, kTextFilesHelp)->type_name("FILE");
  add_option(verb, "--tokenizer", flags->text.tokenizer, "tokenizer file, or a folder that holds tokenizer.model");
  add_option(verb, "--out", flags->out, "data folder to write")->required()->type_name("DIR");
  add_text_reading(verb, flags->text.read);
  auto* share = add_option(verb, "--valid-share", flags->text.valid_share, {0, 0.5, true},
                           "share of the text to hold out for validation");
  add_option(verb, "--valid-in", flags->text.valid_in, "files of held-out text (or tokens), instead of a share")
      ->type_name("FILE")
      ->excludes(share);
  add_seed(verb, flags->text.seed, "seed that decides which documents are held out");
  add_option(verb, "--tokens-u16", flags->tokens_u16, "files of token ids, little-endian uint16, instead of text")
      ->type_name("FILE");
  add_option(verb, "--tokens-u32", flags->tokens_u32, "files of token ids, little-endian uint32, instead of text")
      ->type_name("FILE");
  add_option(verb, "--vocab-size", flags->vocabulary, {1, std::int64_t{1} << 31},
             "with token files: number of different ids");
  add_flag(verb, "--force", flags->force, "replace the data in a folder that is not empty");
  add_threads(verb, flags->common.threads);
  add_common(verb, flags->common, false);
  verb.callback([flags] { run_data(*flags); });
}

}  // namespace lowbit::cli
