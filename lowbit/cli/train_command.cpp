#include <malloc.h>

#include <algorithm>
#include <memory>

#include "lowbit/base/error.h"
#include "lowbit/base/progress.h"
#include "lowbit/base/words.h"
#include "lowbit/cli/command.h"
#include "lowbit/files/checkpoint.h"
#include "lowbit/files/json.h"
#include "lowbit/files/run_folder.h"
#include "lowbit/files/token_shard.h"
#include "lowbit/formats/words.h"
#include "lowbit/model/model_folder.h"
#include "lowbit/text/data_folder.h"
#include "lowbit/text/tokenizer.h"
#include "lowbit/train/inputs.h"
#include "lowbit/train/recipe.h"
#include "lowbit/train/trainer.h"

namespace lowbit::cli {
namespace {

namespace fs = std::filesystem;

struct TrainFlags {
  CommonFlags common;
  train::Options options;
  fs::path out;
  std::string format = "w4a4", layer_formats, head, attention, estimator, transform = "hadamard", backward = "bf16",
              size;
  std::string scale = "rms", grid = "uniform", fp4_threshold = "paper", sparse_scale = "dense";
  std::int64_t tokens = 0;
  bool dry_run = false;
};

std::vector<std::string> words(const std::vector<std::string_view>& names) { return {names.begin(), names.end()}; }

/// What the data or the weights to start from fix about the model: vocabulary, begin and end tokens.
void take_from_data(train::Options& o) {
  if (o.data.empty()) return;
  const text::DataFolder data(o.data);
  if (o.config.vocab == 0) o.config.vocab = static_cast<std::int64_t>(data.train().counts().vocabulary);
  if (data.tokenizer_file().empty()) return;
  const text::Tokenizer tokenizer = text::Tokenizer::load(data.tokenizer_file());
  if (tokenizer.bos()) o.config.bos = *tokenizer.bos();
  // A model to start from may end texts by others besides.
  if (tokenizer.eos() && !o.config.ends_text(*tokenizer.eos())) o.config.eos.push_back(*tokenizer.eos());
}

/// Begin and end tokens are no flags: a run that goes on has those of its checkpoints.
bool take_from_checkpoints(const fs::path& run, train::Options& o) {
  for (const files::Checkpoint& checkpoint : files::list_checkpoints(run)) try {
      const fs::path path = checkpoint.folder / "config.json";
      const model::Config config = model::parse_config(files::read_json(path), path.string()).config;
      o.config.bos = config.bos;
      o.config.eos = config.eos;
      return true;
    } catch (const Error&) {  // damaged: another one says the same
    }
  return false;
}

void take_shape(const CLI::App& verb, TrainFlags& f) {
  train::Options& o = f.options;
  const model::Config given = o.config;
  const auto was_given = [&](const char* flag) { return verb.count(flag) > 0; };
  if (!f.size.empty()) {
    o.config = model::preset(f.size);
  } else if (!o.init.empty()) {
    o.config = model::ModelFolder(files::resolve_model(o.init)).config();
  } else if (!was_given("--layers") || !was_given("--width") || !was_given("--heads")) {
    fail_usage("say which model: --size NAME, or --layers N --width N --heads N, or --init DIR");
  }
  if (was_given("--layers")) o.config.layers = given.layers;
  if (was_given("--width")) o.config.width = given.width;
  if (was_given("--heads")) o.config.heads = o.config.kv_heads = given.heads;
  if (was_given("--kv-heads")) o.config.kv_heads = given.kv_heads;
  if (was_given("--mlp"))
    o.config.mlp = given.mlp;
  else if (was_given("--width") || o.config.mlp == 0)
    o.config.mlp = model::default_mlp(o.config.width);
  if (was_given("--vocab") || o.init.empty()) o.config.vocab = given.vocab;
  if (was_given("--tied")) o.config.tied = true;
  if (was_given("--qk-norm")) o.config.qk_norm = given.qk_norm;
  if (o.init.empty() || was_given("--heads") || was_given("--width")) {
    if (o.config.heads < 1 || o.config.width % o.config.heads != 0)
      fail_usage("--width {} is not a multiple of --heads {}", o.config.width, o.config.heads);
    o.config.head_dim = o.config.width / o.config.heads;
  }
}

void take_scheme(TrainFlags& f) {
  Scheme& scheme = f.options.scheme;
  const double outer = scheme.outer_trust;
  const bool share_steps = scheme.share_steps;
  const std::int64_t scale_group = scheme.scale_group;
  scheme = default_scheme(parse_format(f.format));
  scheme.layer_formats = parse_layer_formats(f.layer_formats);
  if (!f.head.empty()) scheme.head = parse_head(f.head);
  if (!f.attention.empty()) scheme.attention = parse_attention(f.attention);
  scheme.scale = parse_scale_rule(f.scale);
  scheme.grid = parse_grid_shape(f.grid);
  scheme.fp4_threshold = parse_fp4_threshold(f.fp4_threshold);
  scheme.sparse_scale = parse_sparse_scale(f.sparse_scale);
  // A range that holds every entry trusts every entry.
  const char* usual = scheme.scale == ScaleRule::absmax ? "ste" : "trust";
  scheme.estimator = parse_estimator(f.estimator.empty() ? usual : f.estimator);
  scheme.transform = parse_transform(f.transform);
  scheme.outer_trust = outer;
  scheme.share_steps = share_steps;
  scheme.scale_group = scale_group;
  f.options.backward = train::parse_precision(f.backward);
}

/// A new run: flags, then what data and shape say, then the recipe for the rest.
void start(const CLI::App& verb, TrainFlags& f) {
  train::Options& o = f.options;
  if (f.tokens > 0 && o.steps > 0) fail_usage("give either --tokens or --steps, not both");
  if (!o.batches.empty() && (o.batch == 0 || o.seq == 0 || o.config.vocab == 0))
    fail_usage("--batches FILE needs --batch, --seq and --vocab: the file holds nothing but ids");
  if (!o.data.empty() && !o.batches.empty()) fail_usage("give either --data DIR or --batches FILE, not both");
  if (o.data.empty() && o.batches.empty())
    fail_usage("say what to train on: --data DIR (made by lowbit data) or --batches FILE");
  take_scheme(f);
  take_shape(verb, f);
  take_from_data(o);
  if (!o.init.empty() && o.config.vocab == 0) fail_usage("--vocab is not known; give it");
  // Weights that a run starts from fix its shape.
  train::apply_recipe(o, f.tokens, {.gain_lr = verb.count("--gain-lr") > 0,
                                    .qk_norm = verb.count("--qk-norm") > 0 || !o.init.empty(),
                                    .warmup = verb.count("--warmup") > 0,
                                    .cooldown = verb.count("--cooldown") > 0});
  o.config.positions = o.seq;
}

/// Whether a flag says what the run was started with, so that the command that began it may be repeated with --resume.
bool same_as_recorded(const std::string& name, const std::vector<std::string>& given, const train::Options& recorded) {
  const std::string text = given.empty() ? "true" : given.back();
  if (name == "size") return model::preset(text).block_parameters() == recorded.config.block_parameters();
  if (name == "recipe") return text == recorded.recipe;
  auto flags = train::to_flags(recorded);
  for (auto& [flag, value] : flags) {
    if (flag != name) continue;
    const std::string before = value;
    value = text;
    const auto after = train::to_flags(train::from_flags(flags, "--" + name));
    return std::find(after.begin(), after.end(), std::pair(name, before)) != after.end();
  }
  return false;
}

/// Flags that say where data lies. A resumed run takes the same data from another place; what it is, is checked by
/// content.
bool names_data(std::string_view flag) {
  return flag == "data" || flag == "batches" || flag == "eval-batches" || flag == "distill";
}

/// Goes on with a run: its recorded flags, and of the given ones those that may change.
void resume(const CLI::App& verb, TrainFlags& f) {
  const train::Options given = f.options;
  if (!fs::exists(f.out)) fail_input("{} does not exist, so there is no run to resume", f.out.string());
  train::Options o = train::recorded_options(f.out);
  for (const CLI::Option* option : verb.get_options()) {
    if (option->count() == 0) continue;
    std::string name = option->get_name();
    name.erase(0, name.find_first_not_of('-'));
    if (name == "out" || name == "resume" || name == "config" || name == "json" || name == "dry-run" ||
        name == "profile" || name == "recompute" || name == "help")
      continue;
    if (names_data(name) || train::is_free_flag(name) || same_as_recorded(name, option->results(), o)) continue;
    fail_usage("--{} cannot change when a run is resumed; start a new run with --init {}", name, f.out.string());
  }
  const auto take = [&](const char* flag, auto member) {
    if (verb.count(flag) > 0) o.*member = given.*member;
  };
  take("--data", &train::Options::data);
  take("--batches", &train::Options::batches);
  take("--eval-batches", &train::Options::eval_batches);
  take("--distill", &train::Options::distill);
  take("--steps", &train::Options::steps);
  take("--eval-every", &train::Options::eval_every);
  take("--eval-tokens", &train::Options::eval_tokens);
  take("--eval-windows", &train::Options::eval_windows);
  take("--checkpoint-every", &train::Options::checkpoint_every);
  take("--keep", &train::Options::keep);
  take("--bytes-per-token", &train::Options::bytes_per_token);
  take("--sample-tokens", &train::Options::sample_tokens);
  if (f.tokens > 0) o.steps = std::max<std::int64_t>(1, f.tokens / o.tokens_per_step());
  f.options = o;
  if (!take_from_checkpoints(f.out, f.options)) take_from_data(f.options);
  f.options.resume = true;
  f.options.profile = given.profile;
  f.options.recompute = given.recompute;
}

/// What the run would be, on one line or for machines.
void print_outline(const train::Options& o, bool json) {
  const train::Outline outline = train::outline(o);
  const double seconds = outline.prediction.seconds_per_step * static_cast<double>(o.steps);
  if (json) {
    files::Json out;
    out["parameters"] = o.config.parameters();
    out["block_parameters"] = o.config.block_parameters();
    out["steps"] = o.steps;
    out["tokens_per_step"] = o.tokens_per_step();
    out["memory_bytes"] = outline.prediction.memory_bytes;
    out["disk_bytes"] = outline.prediction.disk_bytes;
    out["seconds"] = seconds;
    out["held_out"] = outline.held_out;
    fmt::print("{}\n", files::dump_line(out));
    return;
  }
  fmt::print("{}: {} parameters, {} of {} tokens, {} of memory, about {}{}\n", o.scheme.name(),
             human_count(static_cast<double>(o.config.parameters())), counted(o.steps, "step"), o.tokens_per_step(),
             human_bytes(static_cast<double>(outline.prediction.memory_bytes)), human_time(seconds),
             outline.held_out ? "" : "; no held-out text");
}

}  // namespace

void add_train(CLI::App& verb) {
  auto f = std::make_shared<TrainFlags>();
  train::Options& o = f->options;
  model::Config& c = o.config;
  const auto group = [&](const char* name) { verb.option_defaults()->group(name); };

  group("Data and folders");
  add_option(verb, "--data", o.data, "data folder made by lowbit data")->type_name("DIR");
  add_option(verb, "--batches", o.batches,
             "file of raw uint16 windows [steps, batch, seq + 1], taken in order, instead of --data")
      ->type_name("FILE");
  add_option(verb, "--eval-batches", o.eval_batches, "file of raw uint16 windows [n, seq + 1] to evaluate on")
      ->type_name("FILE");
  add_option(verb, "--out", f->out, "run folder to create, or with --resume to continue")->required()->type_name("DIR");
  add_option(verb, "--init", o.init, "model or run folder with the weights to start from")
      ->type_name("DIR")
      ->default_str("random weights");
  add_flag(
      verb, "--resume", o.resume,
      "continue an interrupted run from its latest complete checkpoint; with a larger --tokens or --steps, extend it");
  add_flag(verb, "--dry-run", f->dry_run, "check everything and predict memory and time; write nothing");

  group("Model shape");
  add_choice(verb, "--size", f->size, words(model::preset_names()),
             "a shape by name, from its parameters outside the embeddings");
  add_option(verb, "--layers", c.layers, {1, 10'000}, "number of transformer blocks");
  add_option(verb, "--width", c.width, {1, 1 << 20}, "width of the residual stream; a multiple of --heads");
  add_option(verb, "--heads", c.heads, {1, 1 << 16}, "number of attention heads");
  add_option(verb, "--kv-heads", c.kv_heads, {1, 1 << 16}, "number of key-value heads")->default_str("as --heads");
  add_option(verb, "--mlp", c.mlp, {1, 1 << 24}, "width of the MLP")
      ->default_str("8/3 of --width, rounded up to a multiple of 256");
  add_option(verb, "--vocab", c.vocab, {1, std::int64_t{1} << 31}, "size of the vocabulary")
      ->default_str("that of the data");
  add_flag(verb, "--tied", c.tied, "use the embedding as the head");
  add_flag(verb, "--qk-norm,!--no-qk-norm", c.qk_norm, "normalize the heads of queries and keys, as in Qwen3");

  group("Number format");
  add_option(verb, "--format", f->format, fmt::format("format of the blocks' linear layers: {}", format_words()))
      ->type_name("FORMAT");
  add_option(
      verb, "--layer-formats", f->layer_formats,
      "formats of some layers, such as down=w2a3,blocks.0.*=w4a4: a kind (q k v o gate up down) or a name with *; the "
      "last that matches a layer wins")
      ->type_name("LIST");
  add_choice(verb, "--head", f->head, head_words(), "format of the head and embedding")
      ->default_str("bf16; f32 with --format f32");
  add_choice(verb, "--attention", f->attention, attention_words(), "format of attention scores and values")
      ->default_str("f32; bf16 with --format bf16");
  add_choice(verb, "--estimator", f->estimator, estimator_words(),
             "gradient through the quantizer. trust, clip and ste use the scale of --scale; the others learn their "
             "steps: lsq+ "
             "also learns an offset of the inputs, adabin is for 1 bit")
      ->default_str("trust; ste with --scale absmax");
  add_choice(verb, "--transform", f->transform, transform_words(),
             "rotation before quantization; hadamard-weights rotates the weights alone, for wXa16");
  add_option(verb, "--outer-trust", o.scheme.outer_trust, {0, 100, true}, "S of the 1-bit trust rule |x| <= S alpha r")
      ->default_str("1.30 with a rotation, 1.25 without");
  add_choice(verb, "--scale", f->scale, scale_words(),
             "scale of a row: from its RMS, from its largest magnitude, or (weights) the best of 15 around the RMS");
  add_option(verb, "--scale-group", o.scheme.scale_group, {kLeastScaleGroup, 1 << 20},
             "columns of a weight row that share a scale; a power of two")
      ->default_str("the whole row");
  add_choice(verb, "--grid", f->grid, grid_words(),
             "levels: uniform, or Lloyd-Max levels of a normal variable for 1 to 4 bits (as in the reference code, or "
             "converged)");
  add_choice(verb, "--fp4-threshold", f->fp4_threshold, fp4_threshold_words(),
             "trust rule of fp4; that of the reference code is narrower");
  add_choice(verb, "--sparse-scale", f->sparse_scale, sparse_scale_words(),
             "scale of a +2:4 row: from the whole row, or refitted to the weights that were kept");
  add_flag(verb, "--share-steps", o.scheme.share_steps,
           "share one learned step among the q, k and v weights of a layer");
  add_choice(verb, "--backward", f->backward, {"bf16", "f32", "int8"},
             "operands of the backward products; int8 rounds the gradients of low-bit layers stochastically to 8 bits");

  group("Training");
  add_choice(verb, "--recipe", o.recipe, {"quest", "best"},
             "fills in what is not given. quest: as in the paper; best: what paid in this project's study");
  add_option(verb, "--tokens", f->tokens, {1}, "tokens to train on; give this or --steps");
  add_option(verb, "--steps", o.steps, {1}, "optimizer steps; give this or --tokens");
  add_option(verb, "--batch", o.batch, {1, 1 << 20}, "sequences per step")->default_str("by the recipe");
  add_option(verb, "--micro-batch", o.micro_batch, {1, 1 << 20},
             "sequences computed at a time: fewer need less memory. It decides the order of sums, so the bits")
      ->default_str("by the recipe");
  add_option(verb, "--seq", o.seq, {1, 1 << 20}, "tokens per sequence")->default_str("by the recipe");
  add_option(verb, "--lr", o.lr, {0, 10, true}, "peak learning rate")->default_str("by the recipe");
  add_choice(verb, "--schedule", o.schedule, {"cosine", "wsd"}, "cosine: one cycle; wsd: warm-up, stable, decay");
  add_option(verb, "--warmup", o.warmup, {0}, "steps of warm-up")->default_str("a tenth of the steps");
  add_option(verb, "--cooldown", o.cooldown, {0}, "with --schedule wsd: steps of decay")
      ->default_str("a fifth of the steps");
  add_option(verb, "--final-lr", o.final_lr, {0, 1},
             "with --schedule cosine: final learning rate as a fraction of the peak");
  add_option(verb, "--weight-decay", o.weight_decay, {0, 10, false, true},
             "decoupled weight decay of the blocks' linear weights");
  add_option(verb, "--beta1", o.beta1, {0, 1, false, true}, "beta1 of AdamW");
  add_option(verb, "--beta2", o.beta2, {0, 1, false, true}, "beta2 of AdamW");
  add_option(verb, "--adam-eps", o.eps, {0, 1, true, true}, "epsilon of AdamW");
  add_option(verb, "--clip", o.clip, {0, 1e30, true},
             "clip the global gradient norm to this; a large number clips nothing");
  add_option(verb, "--gain-lr", o.gain_lr, {0, 1e6},
             "learn a gain for each matrix of the blocks at this multiple of --lr; 0: no gains")
      ->default_str("by the recipe");
  add_option(
      verb, "--cage", o.cage, {0, 1e6},
      "pull weights to their grid after each update, w -= lr L (w - Q(w)), with L rising to this at the last step");
  add_option(verb, "--cage-start", o.cage_start, {0, 1, false, true},
             "fraction of the steps after which L of --cage rises from 0");
  add_option(verb, "--damp", o.damp, {0, 1e6},
             "damp oscillations: add L (w - Q(w)) to the gradient, with L rising from 0 to this at the last step");
  add_option(verb, "--float-start", o.float_start, {0, 1, false, true},
             "fraction of the steps trained in bf16 before the format takes over");
  add_option(verb, "--bits-budget", o.bits_budget, {0, 32, true},
             "mean stored bits per block weight, scales included: the run measures its layers and allots them widths")
      ->default_str("one format for all layers");
  add_option(verb, "--bits-at", o.bits_at, {0, 1, true, true},
             "fraction of the steps after which --bits-budget is allotted");
  add_option(verb, "--bits-choices", o.bits_choices, "widths of weights that --bits-budget may give a layer")
      ->type_name("LIST");
  add_option(verb, "--distill", o.distill, "model folder of a teacher, whose distribution becomes part of the target")
      ->type_name("DIR");
  add_option(verb, "--distill-weight", o.distill_weight, {0, 1}, "weight of the teacher's distribution in the target");
  add_seed(verb, o.seed, "seed of the initial weights and the order of the data");

  group("Evaluation and checkpoints");
  add_option(verb, "--eval-every", o.eval_every, {1}, "steps between evaluations")->default_str("a tenth of the steps");
  add_option(verb, "--eval-tokens", o.eval_tokens, {1},
             "held-out tokens per evaluation during the run; the last one uses all")
      ->default_str("65536");
  add_option(verb, "--eval-windows", o.eval_windows, {1}, "with --eval-batches: windows per evaluation")
      ->default_str("all");
  add_option(verb, "--checkpoint-every", o.checkpoint_every, {1}, "steps between checkpoints")
      ->default_str("a tenth of the steps");
  add_option(verb, "--keep", o.keep, {1, 1 << 20}, "checkpoints to keep");
  add_option(verb, "--bytes-per-token", o.bytes_per_token, {0, 1e6, true},
             "bytes of text per token, for bits per byte of data that was made from raw tokens");
  add_option(verb, "--sample-tokens", o.sample_tokens, {0, 1 << 20},
             "tokens of the sample text shown at evaluations; 0: no sample");

  group("Computation and output");
  add_flag(verb, "--recompute", o.recompute,
           "recompute part of the forward pass during the backward pass: less memory, same result");
  add_flag(verb, "--profile", o.profile, "end with a table of where the time of the steps went");
  add_common(verb, f->common);
  group("Options");

  verb.callback([f, &verb] {
    // Activations come and go by the megabyte every micro-batch: kept in the heap, they are not faulted in anew.
    mallopt(M_MMAP_THRESHOLD, 1 << 30);
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    const int threads = apply_common(f->common);
    if (f->options.resume)
      resume(verb, *f);
    else
      start(verb, *f);
    f->options.threads = threads;
    if (f->dry_run) return print_outline(f->options, f->common.json);
    train::train(f->out, f->options);
  });
}

}  // namespace lowbit::cli
