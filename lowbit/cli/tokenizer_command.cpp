#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lowbit/base/error.h"
#include "lowbit/base/file_map.h"
#include "lowbit/base/file_write.h"
#include "lowbit/base/hash.h"
#include "lowbit/base/interrupt.h"
#include "lowbit/base/progress.h"
#include "lowbit/base/utf8.h"
#include "lowbit/cli/command.h"
#include "lowbit/cli/text_flags.h"
#include "lowbit/files/json.h"
#include "lowbit/text/reader.h"
#include "lowbit/text/tokenizer.h"
#include "lowbit/text/tokenizer_train.h"

namespace lowbit::cli {
namespace {

namespace fs = std::filesystem;
using text::TokenId;
using text::Tokenizer;

constexpr std::size_t kEncodedAtOnce = std::size_t{1} << 20;

struct TrainFlags {
  std::vector<fs::path> in;
  text::ReadOptions read;
  std::uint64_t vocabulary = 4096;
  fs::path out;
  int threads = 0;
  CommonFlags common;
};

struct CodeFlags {
  fs::path tokenizer, in, out;
  std::string given;  // --text or --ids
  int ids_bytes = 0;  // 0: not given
  bool bos = false;
  CommonFlags common;
};

constexpr std::size_t kMaxText = std::size_t{4} << 30;  // bytes that encode and decode take at once

/// A file's bytes, or those of standard input ("" or "-"). An empty file is an empty text here.
std::string read_all(const fs::path& path) {
  if (!path.empty() && path != "-") {
    std::error_code error;
    if (fs::is_regular_file(path, error) && fs::file_size(path, error) == 0) return {};
    return read_stream(path, kMaxText);
  }
  std::string bytes;
  char window[65536];
  while (true) {
    const ssize_t n = read(STDIN_FILENO, window, sizeof(window));
    check_interrupt("stopped; nothing was written");
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail_input("cannot read standard input: {}", errno_text(errno));
    if (n == 0) return bytes;
    bytes.append(window, static_cast<std::size_t>(n));
    if (bytes.size() > kMaxText) fail_input("standard input has more than {} bytes; give it in parts", kMaxText);
  }
}

void run_train(const TrainFlags& flags) {
  std::error_code error;
  const fs::path out = fs::is_directory(flags.out, error) ? flags.out / text::kTokenizerFile : flags.out;
  const auto start = std::chrono::steady_clock::now();
  text::TokenizerTrainer trainer(flags.vocabulary);
  text::TextReader reader(flags.in, flags.read);
  {
    Progress progress("reading", "B", static_cast<double>(reader.total()));
    text::TextPiece piece;
    while (reader.next(piece)) {
      check_interrupt("stopped; no tokenizer was written");
      trainer.add(piece.text);
      progress.update(static_cast<double>(reader.consumed()));
    }
    if (progress.shown())
      progress.line(fmt::format("merging pieces of {} distinct words",
                                human_count(static_cast<double>(trainer.distinct_words()))));
  }
  const std::string model = trainer.train();
  check_interrupt("stopped; no tokenizer was written");
  const Tokenizer made = Tokenizer::from_bytes(model, out.string());
  if (out.has_parent_path()) make_folder(out.parent_path());
  write_file(out, model);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (flags.common.json) {
    files::Json json;
    json["out"] = out.string();
    json["vocabulary"] = made.vocabulary();
    json["hash"] = hash_text(made.hash());
    json["text_bytes"] = trainer.bytes_seen();
    json["distinct_words"] = trainer.distinct_words();
    json["seconds"] = seconds;
    std::cout << files::dump_line(json) << '\n';
    return;
  }
  std::cout << fmt::format("{}: {} pieces from {} of text with {} distinct words, in {}\n", out.string(),
                           made.vocabulary(), human_bytes(static_cast<double>(trainer.bytes_seen())),
                           human_count(static_cast<double>(trainer.distinct_words())), human_time(seconds));
}

std::string ids_as_text(const std::vector<TokenId>& ids) {
  std::string line;
  for (const TokenId id : ids) {
    if (!line.empty()) line += ' ';
    line += std::to_string(id);
  }
  return line;
}

/// Tokenizer::encode in stretches, so that Ctrl-C is noticed between them.
std::vector<TokenId> encode_all(const Tokenizer& tokenizer, std::string_view text, bool bos) {
  require_utf8(text, "the text");
  std::vector<TokenId> ids;
  if (bos && tokenizer.bos()) ids.push_back(*tokenizer.bos());
  text::Encoder encoder(tokenizer);
  for (std::size_t at = 0; at < text.size();) {
    check_interrupt("stopped; nothing was written");
    std::size_t size = std::min(kEncodedAtOnce, text.size() - at), cut = size;
    while (at + size < text.size() && (cut = tokenizer.last_cut(text.substr(at, size))) == 0)
      cut = size = std::min(2 * size, text.size() - at);
    // A model that can be cut nowhere is encoded by the library in one call.
    std::optional<StopAtOnce> stop;
    if (cut > kEncodedAtOnce) stop.emplace("lowbit: stopped; nothing was written\n");
    encoder.encode(text.substr(at, cut), at == 0, ids);
    at += cut;
  }
  return ids;
}

void check_ids_bytes(const CodeFlags& flags) {
  if (flags.ids_bytes == 3) fail_usage("--ids-bytes 3: choose 2 or 4");
}

void run_encode(const CodeFlags& flags, bool text_given) {
  check_ids_bytes(flags);
  if (text_given && !flags.in.empty()) fail_usage("--text and --in exclude each other; give one of them");
  const Tokenizer tokenizer = Tokenizer::load(flags.tokenizer);
  const std::string input = text_given ? flags.given : read_all(flags.in);
  std::vector<TokenId> ids;
  try {
    ids = encode_all(tokenizer, input, flags.bos);
  } catch (const Error& e) {
    if (text_given) throw;
    throw_error(
        e.kind(),
        fmt::format("{}: {}", flags.in.empty() || flags.in == "-" ? "standard input" : flags.in.string(), e.what()));
  }
  if (flags.out.empty()) {
    if (flags.ids_bytes) fail_usage("--ids-bytes goes with --out FILE; ids on standard output are text");
    if (flags.common.json) {
      files::Json json;
      json["ids"] = ids;
      json["tokens"] = ids.size();
      json["bytes"] = input.size();
      std::cout << files::dump_line(json) << '\n';
    } else {
      std::cout << ids_as_text(ids) << '\n';
    }
    return;
  }
  const std::size_t width = flags.ids_bytes ? static_cast<std::size_t>(flags.ids_bytes) : 2;
  if (width == 2 && tokenizer.vocabulary() > 65536)
    fail_usage("the vocabulary has {} ids, too many for 2 bytes; use --ids-bytes 4", tokenizer.vocabulary());
  std::string raw;
  raw.reserve(ids.size() * width);
  for (const TokenId id : ids) raw.append(reinterpret_cast<const char*>(&id), width);  // little-endian, as this machine
  write_file(flags.out, raw);
  if (flags.common.json)
    std::cout << files::dump_line({{"out", flags.out.string()}, {"tokens", ids.size()}, {"bytes", input.size()}})
              << '\n';
}

std::vector<TokenId> parse_ids(std::string_view input) {
  std::vector<TokenId> ids;
  const char* at = input.data();
  const char* end = at + input.size();
  while (true) {
    while (at < end && (std::isspace(static_cast<unsigned char>(*at)) || *at == ',')) ++at;
    if (at == end) return ids;
    TokenId id = 0;
    const auto [rest, code] = std::from_chars(at, end, id);
    const bool apart = rest == end || std::isspace(static_cast<unsigned char>(*rest)) || *rest == ',';
    if (code != std::errc() || !apart)
      fail_input(
          "byte {} of the ids: a whole number is wanted, with spaces, commas or line ends between ids (raw ids are "
          "read by "
          "--in FILE)",
          at - input.data());
    ids.push_back(id);
    at = rest;
  }
}

void run_decode(const CodeFlags& flags, bool ids_given) {
  check_ids_bytes(flags);
  if (ids_given && !flags.in.empty()) fail_usage("--ids and --in exclude each other; give one of them");
  const Tokenizer tokenizer = Tokenizer::load(flags.tokenizer);
  std::vector<TokenId> ids;
  const bool raw = !flags.in.empty() && flags.in != "-";
  if (raw) {
    const std::string bytes = read_all(flags.in);
    const std::size_t width = flags.ids_bytes ? static_cast<std::size_t>(flags.ids_bytes) : 2;
    if (bytes.size() % width)
      fail_input("{} has {} bytes, which is no whole number of {}-byte ids; set --ids-bytes", flags.in.string(),
                 bytes.size(), width);
    ids.resize(bytes.size() / width);
    for (std::size_t i = 0; i < ids.size(); ++i) std::memcpy(&ids[i], bytes.data() + i * width, width);
  } else {
    if (flags.ids_bytes) fail_usage("--ids-bytes goes with --in FILE; ids on standard input are text");
    ids = parse_ids(ids_given ? flags.given : read_all({}));
  }
  const std::string output = tokenizer.decode(ids);
  if (flags.out.empty())
    std::cout.write(output.data(), static_cast<std::streamsize>(output.size()));
  else
    write_file(flags.out, output);
}

files::Json id_or_null(std::optional<TokenId> id) { return id ? files::Json(*id) : files::Json(); }

void run_inspect(const CodeFlags& flags) {
  const Tokenizer tokenizer = Tokenizer::load(flags.tokenizer);
  const text::Vocabulary& v = tokenizer.description();
  std::size_t counts[7] = {};
  for (const text::Piece& piece : v.pieces) ++counts[static_cast<std::size_t>(piece.type)];
  files::Json json;
  json["kind"] = v.kind == text::TokenizerKind::llama2c ? "llama2.c vocabulary" : "SentencePiece model";
  json["type"] = text::model_type_name(v.model_type);
  json["vocabulary"] = tokenizer.vocabulary();
  json["unknown_token"] = id_or_null(tokenizer.unk());
  json["begin_token"] = id_or_null(tokenizer.bos());
  json["end_token"] = id_or_null(tokenizer.eos());
  json["byte_fallback"] = v.byte_fallback;
  json["normalization"] = v.normalizer;
  json["adds_dummy_prefix"] = v.add_dummy_prefix;
  json["removes_extra_spaces"] = v.remove_extra_whitespaces;
  json["brings_back_every_text"] = tokenizer.exact();
  files::Json pieces;
  for (std::size_t type = 1; type <= 6; ++type)
    if (counts[type]) pieces[std::string(text::piece_type_name(static_cast<text::PieceType>(type)))] = counts[type];
  json["pieces"] = std::move(pieces);
  std::size_t longest = 0;
  for (std::size_t id = 0; id < v.pieces.size(); ++id)
    longest = std::max(longest, tokenizer.byte_length(static_cast<TokenId>(id)));
  json["longest_piece_bytes"] = longest;
  json["file_bytes"] = tokenizer.file_bytes().size();
  json["hash"] = hash_text(tokenizer.hash());
  json["training"] = v.record.empty()
                         ? files::Json()
                         : files::parse_json(v.record, "the training record in " + flags.tokenizer.string());
  if (flags.common.json) {
    std::cout << files::dump_line(json) << '\n';
    return;
  }
  for (const auto& [key, value] : json.items()) {
    std::string name = key;
    std::replace(name.begin(), name.end(), '_', ' ');
    if (key == "training" && value.is_object()) {
      std::cout << "training, as recorded in the file:\n";
      for (const auto& [flag, setting] : value.items()) {
        if (!setting.is_object())
          std::cout << fmt::format("  {:<30} {}\n", flag,
                                   setting.is_string() ? setting.get<std::string>() : setting.dump());
        else
          for (const auto& [k, x] : setting.items()) std::cout << fmt::format("  {:<30} {}\n", k, x.get<std::string>());
      }
      continue;
    }
    std::string shown = value.is_null()      ? "none"
                        : value.is_string()  ? value.get<std::string>()
                        : value.is_boolean() ? (value.get<bool>() ? "yes" : "no")
                                             : value.dump();
    if (value.is_object()) {
      shown.clear();
      for (const auto& [k, x] : value.items()) shown += fmt::format("{}{} {}", shown.empty() ? "" : ", ", x.dump(), k);
    }
    std::cout << fmt::format("{:<24} {}\n", name, shown);
  }
}

void add_tokenizer_flag(CLI::App& verb, CodeFlags& flags) {
  add_option(verb, "--tokenizer,--model", flags.tokenizer, "tokenizer file, or a folder that holds tokenizer.model")
      ->required();
}

}  // namespace

void add_tokenizer(CLI::App& verb) {
  verb.require_subcommand(1);

  const auto train = std::make_shared<TrainFlags>();
  CLI::App* sub = verb.add_subcommand("train", "train a SentencePiece BPE tokenizer with byte fallback");
  add_option(*sub, "--in", train->in, kTextFilesHelp)->required()->type_name("FILE");
  add_option(*sub, "--vocab", train->vocabulary, {260, 1'000'000},
             "size of the vocabulary, the 256 bytes and 3 special ids included");
  add_option(*sub, "--out", train->out, "file to write, or a folder for tokenizer.model")->required();
  add_text_reading(*sub, train->read);
  add_threads(*sub, train->threads);
  add_common(*sub, train->common, false);
  sub->callback([train] { run_train(*train); });

  const auto encode = std::make_shared<CodeFlags>();
  sub = verb.add_subcommand("encode", "turn text into ids: as text on standard output, or raw into a file");
  add_tokenizer_flag(*sub, *encode);
  add_option(*sub, "--in", encode->in, "file with the text, read byte for byte; '-' is standard input")
      ->type_name("FILE")
      ->default_str("standard input");
  CLI::Option* given_text = add_option(*sub, "--text", encode->given, "the text itself");
  add_option(*sub, "--out", encode->out, "file for the ids, raw and little-endian")
      ->type_name("FILE")
      ->default_str("text on standard output");
  add_option(*sub, "--ids-bytes", encode->ids_bytes, {2, 4}, "with --out: bytes per id, 2 or 4")->default_str("2");
  add_flag(*sub, "--bos", encode->bos, "begin with the begin token, as training does for a document");
  add_common(*sub, encode->common, false);
  sub->callback([encode, given_text] { run_encode(*encode, given_text->count() > 0); });

  const auto decode = std::make_shared<CodeFlags>();
  sub = verb.add_subcommand("decode", "turn ids back into text, byte for byte");
  add_tokenizer_flag(*sub, *decode);
  add_option(*sub, "--in", decode->in, "file of raw little-endian ids")
      ->type_name("FILE")
      ->default_str("ids as text on standard input");
  CLI::Option* given_ids =
      add_option(*sub, "--ids", decode->given, "the ids themselves, separated by spaces or commas");
  add_option(*sub, "--ids-bytes", decode->ids_bytes, {2, 4}, "with --in: bytes per id, 2 or 4")->default_str("2");
  add_option(*sub, "--out", decode->out, "file for the text")->type_name("FILE")->default_str("standard output");
  sub->callback([decode, given_ids] { run_decode(*decode, given_ids->count() > 0); });

  const auto inspect = std::make_shared<CodeFlags>();
  sub = verb.add_subcommand("inspect", "show a tokenizer's type, vocabulary, special ids, settings and hash");
  add_tokenizer_flag(*sub, *inspect);
  add_common(*sub, inspect->common, false);
  sub->callback([inspect] { run_inspect(*inspect); });
}

}  // namespace lowbit::cli
