#include <unistd.h>

#include <bit>
#include <chrono>
#include <cstdio>
#include <memory>
#include <span>

#include "lowbit/base/error.h"
#include "lowbit/base/interrupt.h"
#include "lowbit/base/file_map.h"
#include "lowbit/base/words.h"
#include "lowbit/bench/ceiling_cache.h"
#include "lowbit/cli/command.h"
#include "lowbit/cli/model_tokenizer.h"
#include "lowbit/files/json.h"
#include "lowbit/files/run_folder.h"
#include "lowbit/machine/isa.h"
#include "lowbit/nn/load.h"
#include "lowbit/run/engine.h"
#include "lowbit/run/sampler.h"
#include "lowbit/text/prompt.h"

namespace lowbit::cli {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
constexpr std::size_t kMaxPrompt = std::size_t{16} << 20;  // bytes of --prompt-file; far more than any context takes

struct RunFlags {
  CommonFlags common;
  fs::path model, prompt_file, tokenizer;
  std::string prompt, kernel;
  std::int64_t max_tokens = 128, context = 0;
  run::SamplerOptions sampler;
  bool quiet = false, ignore_eos = false, special_tokens = false;
};

double since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

void show(std::string_view text) {
  if (text.empty()) return;
  // A terminal would obey control characters that a model or a prompt may hold; a file or pipe gets the bytes as they
  // are.
  static const bool terminal = isatty(STDOUT_FILENO);
  std::string safe;
  if (terminal) text = safe = lowbit::shown(text);
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0)
    fail("cannot write to standard output: {}", errno_text(errno));
}

/// A NaN would be drawn as if it were a choice. position: of the token that the logits are for.
void require_finite(std::span<const float> logits, std::size_t position) {
  std::uint32_t bad = 0;
  constexpr std::uint32_t exponent = 0x7F800000u;
  for (const float x : logits)
    bad |= static_cast<std::uint32_t>((std::bit_cast<std::uint32_t>(x) & exponent) == exponent);
  if (bad != 0)
    fail("the logits of position {} are infinite or not a number: the model's weights are damaged, or it diverged",
         position);
}

std::vector<std::int32_t> prompt_ids(const text::PromptReader& reader, const RunFlags& f, std::int64_t vocab) {
  const std::string prompt = f.prompt_file.empty() ? f.prompt : read_stream(f.prompt_file, kMaxPrompt);
  const text::PromptReader::Ids read = reader.encode(prompt, f.special_tokens);
  for (const std::string& warning : read.warnings) fmt::print(stderr, "lowbit: {}\n", warning);
  std::vector<std::int32_t> ids;
  for (const text::TokenId id : read.ids) {
    if (static_cast<std::int64_t>(id) >= vocab)
      fail_input("the tokenizer gives the id {}, but the model has a vocabulary of {}; they do not belong together", id,
                 vocab);
    ids.push_back(static_cast<std::int32_t>(id));
  }
  if (ids.empty()) fail_usage("the prompt is empty and this tokenizer has no begin token; give --prompt TEXT");
  return ids;
}

/// Text as it comes, token by token.
class Writer {
 public:
  explicit Writer(const text::PromptReader& reader, bool at_start)
      : reader_(reader), decoder_(reader.tokenizer(), at_start) {}
  /// What to show now.
  std::string push(std::int32_t token) {
    const auto id = static_cast<text::TokenId>(token);
    if (id < reader_.tokenizer().vocabulary()) return std::string(decoder_.push(id));
    // A model may have more ids than its tokenizer: added words, and ids that stand for no text.
    const std::string_view added = reader_.added_text(id);
    return added.empty() ? std::string() : std::string(decoder_.finish()) + std::string(added);
  }
  std::string finish() { return std::string(decoder_.finish()); }

 private:
  const text::PromptReader& reader_;
  text::StreamDecoder decoder_;
};

std::string decode(const text::PromptReader& reader, std::span<const std::int32_t> ids) {
  Writer writer(reader, true);
  std::string text;
  for (const std::int32_t id : ids) text += writer.push(id);
  return text + writer.finish();
}

/// Why a text ended, for the closing line.
std::string_view ended_by(std::string_view stop) {
  if (stop == "length") return "--max-tokens";
  if (stop == "context") return "the end of the context";
  return stop == "end token" ? "the end token" : "Ctrl-C";
}

void complete(const RunFlags& f) {
  const auto start = Clock::now();
  run::check(f.sampler);
  if (f.max_tokens < 0) fail_usage("--max-tokens must not be negative, not {}", f.max_tokens);
  if (!f.prompt.empty() && !f.prompt_file.empty()) fail_usage("give either --prompt or --prompt-file, not both");
  ThreadPool pool(apply_common(f.common));
  const fs::path path = files::resolve_model(f.model);
  const model::ModelFolder folder(path);
  bench::use_kept_rates(pool.threads());
  nn::force_kernel(f.kernel, folder.scheme().format, folder.scheme().scale_group != 0);
  const model::Config& config = folder.config();
  const text::PromptReader reader = open_prompt_reader(path, f.tokenizer, config.vocab);
  if (reader.begins() && config.bos && static_cast<std::int64_t>(*reader.tokenizer().bos()) != *config.bos)
    fmt::print(stderr, "lowbit: the model's bos_token_id is {}, but prompts begin with the tokenizer's {}\n",
               *config.bos, *reader.tokenizer().bos());
  const std::vector<std::int32_t> prompt = prompt_ids(reader, f, config.vocab);
  const std::int64_t context = f.context > 0 ? std::min(f.context, config.positions) : config.positions;
  if (static_cast<std::int64_t>(prompt.size()) > context)
    fail_input("the prompt has {} tokens, more than the model's context of {}; shorten it", prompt.size(), context);
  const auto most =
      static_cast<std::size_t>(std::min(context, static_cast<std::int64_t>(prompt.size()) + f.max_tokens));
  const nn::LlamaWeights weights = nn::load_llama(pool, folder, most);
  run::Engine engine(pool, weights, std::min<std::size_t>(prompt.size(), 256));
  run::Sequence sequence(weights, most);
  run::Sampler sampler(f.sampler, static_cast<std::size_t>(config.vocab), &pool);
  Writer writer(reader, false);
  std::vector<float> logits(static_cast<std::size_t>(config.vocab));
  for (const std::int32_t id : prompt) sampler.see(id);

  if (!f.common.json && !f.quiet) show(decode(reader, prompt));
  engine.feed(sequence, prompt, logits.data());
  const double prompt_seconds = since(start);
  double first_token = 0;
  std::string text;
  std::vector<std::int32_t> drawn;
  drawn.reserve(most);
  const auto decode_start = Clock::now();
  std::string_view stop = "length";
  while (static_cast<std::int64_t>(drawn.size()) < f.max_tokens && prompt.size() + drawn.size() < most) {
    require_finite(logits, prompt.size() + drawn.size());
    const std::int32_t token = sampler.choose(logits, prompt.size() + drawn.size());
    if (first_token == 0) first_token = since(start);
    if (config.ends_text(token) && !f.ignore_eos) {
      stop = "end token";
      break;
    }
    drawn.push_back(token);
    sampler.see(token);
    const std::string shown = writer.push(token);
    if (f.common.json)
      text += shown;
    else
      show(shown);
    if (interrupted()) {
      stop = "interrupted";
      break;
    }
    if (static_cast<std::int64_t>(drawn.size()) < f.max_tokens && prompt.size() + drawn.size() < most)
      engine.feed(sequence, {&token, 1}, logits.data());
  }
  if (stop == "length" && static_cast<std::int64_t>(drawn.size()) < f.max_tokens) stop = "context";
  const double decode_seconds = since(decode_start);
  const double rate = drawn.size() > 1 ? static_cast<double>(drawn.size() - 1) / decode_seconds : 0;
  if (f.common.json) {
    text += writer.finish();
    files::Json json;
    json["text"] = text;
    json["tokens"] = drawn;
    json["prompt_tokens"] = prompt;
    json["stop"] = stop;
    json["first_token_seconds"] = first_token;
    json["prompt_seconds"] = prompt_seconds;
    json["tokens_per_second"] = rate;
    json["isa"] = isa_name(active_isa());
    json["threads"] = pool.threads();
    show(files::dump_line(json) + "\n");
  } else {
    show(writer.finish());
    show("\n");
    if (!f.quiet)
      fmt::print(stderr, "[{} read, first token after {:.0f} ms; {} generated, {:.0f} tokens/s; {}, {}; ended by {}]\n",
                 counted(prompt.size(), "prompt token"), 1e3 * first_token, counted(drawn.size(), "token"), rate,
                 isa_name(active_isa()), counted(pool.threads(), "thread"), ended_by(stop));
  }
  if (stop == "interrupted") throw Interrupted("stopped by Ctrl-C");
}

}  // namespace

void add_run(CLI::App& verb) {
  auto f = std::make_shared<RunFlags>();
  add_option(verb, "--model", f->model, "model folder, packed or not, or run folder")->required()->type_name("DIR");
  add_option(verb, "--prompt", f->prompt, "text to continue");
  add_option(verb, "--prompt-file", f->prompt_file, "file with the text to continue")->type_name("FILE");
  add_option(verb, "--max-tokens", f->max_tokens, {0}, "most tokens to generate");
  add_option(verb, "--context", f->context, {1}, "positions to keep room for, prompt included")
      ->default_str("the model's context");
  add_option(verb, "--temperature", f->sampler.temperature, {0, 1000},
             "sampling temperature; 0: always the likeliest token");
  add_option(verb, "--top-k", f->sampler.top_k, {0}, "sample among the k likeliest tokens; 0: among all");
  add_option(verb, "--top-p", f->sampler.top_p, {0, 1, true},
             "sample among the likeliest tokens that together have this probability");
  add_option(verb, "--min-p", f->sampler.min_p, {0, 1, false, true},
             "drop tokens with less than this fraction of the highest probability");
  add_option(verb, "--repetition-penalty", f->sampler.repetition_penalty, {0, 1000, true},
             "above 1: make tokens that already occur in the text less likely");
  add_seed(verb, f->sampler.seed, "seed of the sampler");
  add_flag(verb, "--ignore-eos", f->ignore_eos, "continue past end tokens");
  add_option(verb, "--tokenizer", f->tokenizer,
             "tokenizer file, or folder with one, for a model folder without a tokenizer")
      ->type_name("PATH");
  add_flag(verb, "--special-tokens", f->special_tokens,
           "read special tokens that the prompt spells, such as </s>, as tokens instead of as plain text");
  add_option(verb, "--kernel", f->kernel,
             "use this kernel for the blocks: codes, packed, planes, ...; the text stays the same")
      ->type_name("NAME")
      ->default_str("the fastest by the machine model");
  add_flag(verb, "--quiet", f->quiet, "print the completion alone");
  add_common(verb, f->common);
  verb.callback([f] { complete(*f); });
}

}  // namespace lowbit::cli
