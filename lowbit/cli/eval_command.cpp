#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>
#include <system_error>

#include "lowbit/base/error.h"
#include "lowbit/base/progress.h"
#include "lowbit/base/words.h"
#include "lowbit/cli/command.h"
#include "lowbit/cli/model_tokenizer.h"
#include "lowbit/cli/text_flags.h"
#include "lowbit/eval/evaluate.h"
#include "lowbit/files/json.h"
#include "lowbit/files/run_folder.h"
#include "lowbit/machine/isa.h"
#include "lowbit/nn/load.h"
#include "lowbit/run/window_losses.h"
#include "lowbit/text/data_folder.h"
#include "lowbit/text/reader.h"
#include "lowbit/text/tokenizer.h"

namespace lowbit::cli {
namespace {

namespace fs = std::filesystem;

struct EvalFlags {
  CommonFlags common;
  fs::path model, data, tokenizer;
  std::vector<fs::path> text;
  text::ReadOptions read;
  std::int64_t seq = 0, tokens = 0;
  double bytes_per_token = 0;
  std::uint64_t seed = 0;
};

/// Text, encoded: what a token shard would hold of it.
struct EncodedText {
  std::vector<std::int32_t> ids;
  std::vector<std::uint64_t> starts, bytes;
  std::optional<text::TokenId> unknown;
};

EncodedText encode(const EvalFlags& f, const fs::path& model, std::int64_t vocab) {
  const text::Tokenizer tokenizer = model_tokenizer(model, f.tokenizer, vocab);
  text::Encoder encoder(tokenizer);
  EncodedText encoded;
  encoded.unknown = tokenizer.unk();
  std::vector<text::TokenId> ids;
  text::TextReader reader(f.text, f.read, [&](std::string_view text) { return tokenizer.last_cut(text); });
  for (text::TextPiece piece; reader.next(piece);) {
    ids.clear();
    if (piece.begins) {
      encoded.starts.push_back(encoded.ids.size());
      encoded.bytes.push_back(0);
      if (tokenizer.bos()) ids.push_back(*tokenizer.bos());
    }
    encoder.encode(piece.text, piece.begins, ids);
    encoded.bytes.back() += piece.text.size();
    for (const text::TokenId id : ids) encoded.ids.push_back(static_cast<std::int32_t>(id));
  }
  return encoded;
}

double unknown_share(const eval::Evaluation& e) {
  return static_cast<double>(e.unknown_tokens) / static_cast<double>(e.tokens);
}

void tell_unknown(const eval::Evaluation& e) {
  if (e.unknown_tokens == 0) return;
  fmt::print(stderr, "lowbit: warning: {:.3g} % of the tokens are <unk>, text that the tokenizer cannot express{}\n",
             100 * unknown_share(e),
             e.bits_refused ? fmt::format("; above {:g} % bits per byte would leave out what it stands for",
                                          100 * eval::kMostUnknown)
                            : "; bits per byte are too low by about that share");
}

void print(const EvalFlags& f, const eval::Evaluation& e, const model::ModelFolder& folder, int threads,
           std::size_t length) {
  if (f.common.json) {
    const auto interval = [](const eval::Interval& i) { return files::Json::array({i.low, i.high}); };
    files::Json json;
    json["bits_per_byte"] = e.bits_per_byte ? files::Json(*e.bits_per_byte) : files::Json();
    json["bits_per_byte_interval"] = e.bits_interval ? interval(*e.bits_interval) : files::Json();
    json["nats_per_token"] = e.nats_per_token;
    json["nats_per_token_interval"] = interval(e.nats_interval);
    json["perplexity"] = e.perplexity();
    json["tokens"] = e.tokens;
    json["bytes"] = e.bytes ? files::Json(*e.bytes) : files::Json();
    json["unknown_share"] = unknown_share(e);
    json["interval_level"] = 0.95;
    json["interval_over"] = e.interval_over;
    json["units"] = e.units;
    json["window"] = length;
    json["format"] = folder.scheme().format.name();
    if (!folder.scheme().layer_formats.empty()) json["layer_formats"] = text_of(folder.scheme().layer_formats);
    json["isa"] = isa_name(active_isa());
    json["threads"] = threads;
    fmt::print("{}\n", files::dump_line(json));
    return;
  }
  if (e.bits_per_byte)
    fmt::print("bits per byte   {:.4f}  [{:.4f}, {:.4f}]\n", *e.bits_per_byte, e.bits_interval->low,
               e.bits_interval->high);
  else if (e.bits_refused)
    fmt::print("bits per byte   none: {:.3g} % of the tokens are <unk>\n", 100 * unknown_share(e));
  else
    fmt::print("bits per byte   unknown: this data has no byte lengths (give --bytes-per-token)\n");
  fmt::print("nats per token  {:.4f}  [{:.4f}, {:.4f}]\n", e.nats_per_token, e.nats_interval.low, e.nats_interval.high);
  fmt::print("perplexity      {:.2f} per token\n", e.perplexity());
  fmt::print("over            {}{}, in windows of {}\n", counted(e.tokens, "token"),
             e.bytes ? ", " + counted(*e.bytes, "byte") : std::string(), length);
  const std::string_view over = e.interval_over;
  fmt::print("[...]           95 % confidence intervals, bootstrap over {}\n",
             counted(e.units, over.ends_with('s') ? over.substr(0, over.size() - 1) : over));
}

}  // namespace

void add_eval(CLI::App& verb) {
  auto f = std::make_shared<EvalFlags>();
  add_option(verb, "--model", f->model, "model folder or run folder")->required()->type_name("DIR");
  add_option(verb, "--data", f->data, "data folder: evaluate on its held-out part")->type_name("DIR");
  add_option(verb, "--text", f->text, kTextFilesHelp)->type_name("FILE");
  add_option(verb, "--tokenizer", f->tokenizer,
             "tokenizer file, or folder with one, to read --text with for a model folder without")
      ->type_name("PATH");
  add_text_reading(verb, f->read);
  add_option(verb, "--seq", f->seq, {1}, "tokens per window")->default_str("the model's context");
  add_option(verb, "--tokens", f->tokens, {1}, "stop after about this many tokens")->default_str("all");
  add_option(verb, "--bytes-per-token", f->bytes_per_token, {0, 1e6, true},
             "bytes of text per token, for bits per byte of data that was made from raw tokens");
  add_seed(verb, f->seed, "seed of the bootstrap");
  add_common(verb, f->common);
  verb.callback([f] {
    if (f->data.empty() == f->text.empty()) fail_usage("say what to evaluate on: --data DIR or --text FILE");
    if (!f->tokenizer.empty() && f->text.empty())
      fail_usage("--tokenizer is for --text; the tokens of --data are made already");
    const int threads = apply_common(f->common);
    ThreadPool pool(threads);
    const fs::path path = files::resolve_model(f->model);
    const model::ModelFolder folder(path);
    const std::int64_t context = folder.config().positions;
    if (f->seq > context) fail_usage("--seq {} is longer than the context of this model, {} tokens", f->seq, context);
    std::optional<text::TokenId> unknown;
    std::unique_ptr<text::DataFolder> data;
    EncodedText encoded;
    eval::TokenStream stream;
    if (!f->data.empty()) {
      data = std::make_unique<text::DataFolder>(f->data);
      const files::TokenShard& shard = data->valid();
      shard.verify();
      text::require_same_tokenizer(shard, path, folder.config().vocab, "--model");
      stream = eval::stream_of(shard);
      if (shard.has_documents() && !data->tokenizer_file().empty())
        unknown = text::Tokenizer::load(data->tokenizer_file()).unk();
    } else {
      encoded = encode(*f, path, folder.config().vocab);
      stream.tokens = encoded.ids.size();
      stream.copy = [&](std::uint64_t begin, std::span<std::int32_t> out) {
        std::copy_n(encoded.ids.begin() + static_cast<std::ptrdiff_t>(begin), out.size(), out.begin());
      };
      stream.document_starts = encoded.starts;
      stream.document_bytes = encoded.bytes;
      unknown = encoded.unknown;
    }
    // A text shorter than a window takes the memory and time of its own length.
    const auto length = static_cast<std::size_t>(std::min<std::uint64_t>(
        static_cast<std::uint64_t>(f->seq > 0 ? f->seq : context), std::max<std::uint64_t>(stream.tokens, 2) - 1));
    const nn::LlamaWeights weights = nn::load_llama(pool, folder, length);
    run::WindowLosses losses(pool, weights, length);
    eval::EvaluationOptions options;
    options.length = length;
    options.windows_at_once = losses.windows_at_once();
    options.most_tokens = f->tokens;
    options.bytes_per_token = f->bytes_per_token;
    if (unknown) options.unknown = static_cast<std::int32_t>(*unknown);
    options.seed = f->seed;
    Progress progress("eval", "tok", static_cast<double>(stream.tokens));
    options.progress = [&](std::int64_t done, std::int64_t) { progress.update(static_cast<double>(done)); };
    const eval::Evaluation result = eval::evaluate(
        stream, [&](auto ids, auto targets, std::size_t n, auto out) { losses(ids, targets, n, out); }, options);
    progress.finish();
    if (result.first_not_finite)
      fail(
          "the loss of predicted token {} is not finite, so this model computes infinite or undefined values on this "
          "text; check its weights and scales (lowbit inspect)",
          *result.first_not_finite);
    tell_unknown(result);
    print(*f, result, folder, threads, length);
  });
}

}  // namespace lowbit::cli
