#include <malloc.h>

#include <algorithm>
#include <memory>

#include "lowbit/base/error.h"
#include "lowbit/base/progress.h"
#include "lowbit/cli/command.h"
#include "lowbit/files/json.h"
#include "lowbit/files/run_folder.h"
#include "lowbit/files/token_shard.h"
#include "lowbit/model/model_folder.h"
#include "lowbit/text/dataset.h"
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
  std::string format = "w4a4", layer_formats, head, attention, estimator, transform = "hadamard", backward = "bf16", size;
  std::string scale = "rms", grid = "uniform", fp4_threshold = "paper", sparse_scale = "dense";
  std::int64_t tokens = 0;
  bool dry_run = false;
};

/// What the data or the weights to start from fix about the model: vocabulary, begin and end tokens.
void take_from_data(train::Options& o) {
  if (o.data.empty()) return;
  const files::TokenShard shard(o.data / text::kTrainShard);
  if (o.config.vocab == 0) o.config.vocab = static_cast<std::int64_t>(shard.counts().vocabulary);
  if (!fs::exists(o.data / text::kTokenizerFile)) return;
  const text::Tokenizer tokenizer = text::Tokenizer::load(o.data / text::kTokenizerFile);
  if (tokenizer.bos()) o.config.bos = *tokenizer.bos();
  if (tokenizer.eos()) o.config.eos = *tokenizer.eos();
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

void take_scheme(const CLI::App& verb, TrainFlags& f) {
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
  if (verb.count("--outer-trust") > 0 && !(outer > 0)) fail_usage("--outer-trust must be positive, not {}", outer);
  scheme.outer_trust = outer;
  scheme.share_steps = share_steps;
  if (verb.count("--scale-group") > 0 && scale_group == 0)
    fail_usage("--scale-group must be a power of two from {} on, not 0; leave it out for one scale a row", kLeastScaleGroup);
  scheme.scale_group = scale_group;
  f.options.backward = train::parse_precision(f.backward);
}

/// A new run: flags, then what data and shape say, then the recipe for the rest.
void start(const CLI::App& verb, TrainFlags& f) {
  train::Options& o = f.options;
  if (f.tokens < 0) fail_usage("--tokens must be positive, not {}", f.tokens);
  if (f.tokens > 0 && o.steps > 0) fail_usage("give either --tokens or --steps, not both");
  if (!o.batches.empty() && (o.batch == 0 || o.seq == 0 || o.config.vocab == 0))
    fail_usage("--batches FILE needs --batch, --seq and --vocab: the file holds nothing but ids");
  if (!o.data.empty() && !o.batches.empty()) fail_usage("give either --data DIR or --batches FILE, not both");
  if (o.data.empty() && o.batches.empty()) fail_usage("say what to train on: --data DIR (made by lowbit data) or --batches FILE");
  if (o.seq < 0 || o.batch < 0 || o.steps < 0) fail_usage("--seq, --batch and --steps must be positive");
  take_scheme(verb, f);
  take_shape(verb, f);
  take_from_data(o);
  if (!o.init.empty() && o.config.vocab == 0) fail_usage("--vocab is not known; give it");
  // Weights that a run starts from fix its shape.
  train::apply_recipe(o, f.tokens, {.gain_lr = verb.count("--gain-lr") > 0, .qk_norm = verb.count("--qk-norm") > 0 || !o.init.empty()});
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

/// Goes on with a run: its recorded flags, and of the given ones those that may change.
void resume(const CLI::App& verb, TrainFlags& f) {
  const train::Options given = f.options;
  if (!fs::exists(f.out)) fail_input("{} does not exist, so there is no run to resume", f.out.string());
  train::Options o = train::recorded_options(f.out);
  for (const CLI::Option* option : verb.get_options()) {
    if (option->count() == 0) continue;
    std::string name = option->get_name();
    name.erase(0, name.find_first_not_of('-'));
    if (name == "out" || name == "resume" || name == "config" || name == "json" || name == "dry-run" || name == "profile" || name == "recompute" || name == "help") continue;
    if (train::is_free_flag(name) || same_as_recorded(name, option->results(), o)) continue;
    fail_usage("--{} cannot change when a run is resumed; start a new run with --init {}", name, f.out.string());
  }
  const auto take = [&](const char* flag, auto member) {
    if (verb.count(flag) > 0) o.*member = given.*member;
  };
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
  take_from_data(f.options);
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
  fmt::print("{}: {} parameters, {} steps of {} tokens, {} of memory, about {}{}\n", o.scheme.name(),
             human_count(static_cast<double>(o.config.parameters())), o.steps, o.tokens_per_step(),
             human_bytes(static_cast<double>(outline.prediction.memory_bytes)), human_time(seconds),
             outline.held_out ? "" : "; no held-out text");
}

}  // namespace

void add_train(CLI::App& verb) {
  auto f = std::make_shared<TrainFlags>();
  train::Options& o = f->options;
  model::Config& c = o.config;
  add_option(verb, "--data", o.data, "data folder made by `lowbit data`");
  add_option(verb, "--batches", o.batches, "raw uint16 windows [steps, batch, seq + 1], taken in order, instead of --data");
  add_option(verb, "--eval-batches", o.eval_batches, "raw uint16 windows [n, seq + 1] to evaluate on");
  add_option(verb, "--out", f->out, "run folder to make, or with --resume to go on with")->required();
  add_flag(verb, "--dry-run", f->dry_run, "check all of it and predict memory and time; make nothing");
  add_flag(verb, "--resume", o.resume, "go on from the newest complete checkpoint; with more --tokens or --steps, beyond its end");
  add_option(verb, "--init", o.init, "model folder or run folder whose weights to start from");

  add_option(verb, "--format", f->format, "of the blocks' linear layers: f32, bf16, fp4, or wXaY with X in 1..8, 1.58, 16 and Y in 1..8, 16; +2:4 behind bf16 or X in 1..7")->capture_default_str();
  add_option(verb, "--layer-formats", f->layer_formats,
             "formats of some layers: down=w2a3,blocks.0.*=w4a4 (kinds q k v o gate up down, or names with *); the last that names a layer holds");
  add_option(verb, "--head", f->head, "of head and embedding: bf16, w8a8, w4a8, f32 (default bf16; f32 with --format f32)");
  add_option(verb, "--attention", f->attention, "of scores and values: f32, bf16 (default f32; bf16 with --format bf16)");
  add_option(verb, "--estimator", f->estimator, "which gradient passes the quantizer: trust, clip, ste; with learned steps: lsq, pact, pact-code, lsq+ (with an offset of the inputs), lsq+code, adabin (1 bit) (default trust; ste with --scale absmax)");
  add_option(verb, "--transform", f->transform, "before coding: hadamard, hadamard-weights (wXa16), none")->capture_default_str();
  add_option(verb, "--outer-trust", o.scheme.outer_trust, "S of the 1-bit trust rule |x| <= S alpha r (default 1.30 rotated, 1.25 not)");
  add_option(verb, "--scale", f->scale, "of a row, from its: rms, absmax (QuaRot's, with the hadamard transform), mse (of weights: the best of 15 around rms)")->capture_default_str();
  add_option(verb, "--scale-group", o.scheme.scale_group, "columns of a weight row that share a scale: 64, 128, 256, ... (default the whole row)");
  add_option(verb, "--grid", f->grid, "levels: uniform, gaussian (the reference code's Lloyd-Max, 1 to 4 bits), gaussian-converged")
      ->capture_default_str();
  add_option(verb, "--fp4-threshold", f->fp4_threshold, "trust rule of fp4: paper, code (the narrower one of the reference code)")
      ->capture_default_str();
  add_option(verb, "--sparse-scale", f->sparse_scale, "of a +2:4 row: dense (of the whole row), refit (to what survived)")
      ->capture_default_str();
  add_flag(verb, "--share-steps", o.scheme.share_steps, "one learned step for the weights of q, k and v of a layer");
  add_option(verb, "--backward", f->backward,
             "operands of the backward products: bf16, f32; int8: gradients of low-bit layers rounded stochastically to 8 bits")
      ->capture_default_str();

  add_option(verb, "--size", f->size, "a shape by name: 0.5m 1m 2m 4m 8m 16m 30m 50m 100m 200m 430m 800m 1.6b");
  add_option(verb, "--layers", c.layers, "blocks");
  add_option(verb, "--width", c.width, "of the residual stream");
  add_option(verb, "--heads", c.heads, "attention heads");
  add_option(verb, "--kv-heads", c.kv_heads, "key-value heads (default as --heads)");
  add_option(verb, "--mlp", c.mlp, "width of the MLP (default 8/3 of --width, up to a multiple of 256)");
  add_option(verb, "--vocab", c.vocab, "vocabulary (default the data's)");
  add_flag(verb, "--tied", c.tied, "the head is the embedding");
  add_flag(verb, "--qk-norm,!--no-qk-norm", c.qk_norm, "heads of queries and keys are normed before their rotation, as in Qwen3");

  add_option(verb, "--recipe", o.recipe, "fills what is not given below: quest (as the paper), best (with what earned its place: docs/explain/recipes.md)")->capture_default_str();
  add_option(verb, "--tokens", f->tokens, "to train on; or --steps");
  add_option(verb, "--steps", o.steps, "updates");
  add_option(verb, "--batch", o.batch, "sequences of a step");
  add_option(verb, "--micro-batch", o.micro_batch, "sequences computed at once; less memory, same batch (part of the run: it decides bits)");
  add_option(verb, "--seq", o.seq, "tokens of a sequence");
  add_option(verb, "--lr", o.lr, "peak learning rate");
  add_option(verb, "--schedule", o.schedule, "cosine (one cycle), wsd (warm-up, stable, decay)")->capture_default_str();
  add_option(verb, "--warmup", o.warmup, "steps of warm-up (default a tenth)");
  add_option(verb, "--cooldown", o.cooldown, "steps of decay under wsd (default a fifth)");
  add_option(verb, "--final-lr", o.final_lr, "at the end of the cosine, as a part of the peak")->capture_default_str();
  add_option(verb, "--weight-decay", o.weight_decay, "decoupled, on the blocks' linear weights")->capture_default_str();
  add_option(verb, "--beta1", o.beta1, "of AdamW")->capture_default_str();
  add_option(verb, "--beta2", o.beta2, "of AdamW")->capture_default_str();
  add_option(verb, "--adam-eps", o.eps, "of AdamW")->capture_default_str();
  add_option(verb, "--clip", o.clip, "largest global gradient norm")->capture_default_str();
  add_option(verb, "--gain-lr", o.gain_lr, "learn a gain for each matrix of the blocks, at this times --lr; 0: none")->capture_default_str();
  add_option(verb, "--cage", o.cage, "pull weights to their grid after each update: w -= lr L (w - Q(w)), L rising to this at the end")
      ->capture_default_str();
  add_option(verb, "--cage-start", o.cage_start, "part of the steps after which L rises from 0")->capture_default_str();
  add_option(verb, "--damp", o.damp, "damp oscillations: each step's gradient gets L (w - Q(w)), L rising from 0 to this at the end")
      ->capture_default_str();
  add_option(verb, "--float-start", o.float_start, "part of the steps done in bf16 before the format is taken up")->capture_default_str();
  add_option(verb, "--bits-budget", o.bits_budget, "mean stored bits of the blocks' weights, scales included: the run measures its layers, allots them and goes on so");
  add_option(verb, "--bits-at", o.bits_at, "part of the steps after which --bits-budget is allotted")->capture_default_str();
  add_option(verb, "--bits-choices", o.bits_choices, "widths of weights that it may give a layer")->capture_default_str();
  add_option(verb, "--distill", o.distill, "model folder of a teacher whose distribution is part of the target");
  add_option(verb, "--distill-weight", o.distill_weight, "the teacher's part of the target")->capture_default_str();
  add_option(verb, "--seed", o.seed, "of initial weights and data order")->capture_default_str();

  add_option(verb, "--eval-every", o.eval_every, "steps between evaluations (default a tenth of the run)");
  add_option(verb, "--eval-tokens", o.eval_tokens, "of each evaluation on the way (default 65536); the last takes all");
  add_option(verb, "--eval-windows", o.eval_windows, "the same in windows, with --eval-batches");
  add_option(verb, "--checkpoint-every", o.checkpoint_every, "steps between checkpoints (default a tenth of the run)");
  add_option(verb, "--keep", o.keep, "checkpoints to keep")->capture_default_str();
  add_option(verb, "--bytes-per-token", o.bytes_per_token, "of raw tokens, so that bits per byte can be told");
  add_flag(verb, "--recompute", o.recompute, "less memory, same result: part of the forward pass is done again on the way back");
  add_flag(verb, "--profile", o.profile, "end with a table of where the time of the steps went");
  add_option(verb, "--sample-tokens", o.sample_tokens, "of text drawn at evaluations, 0 for none")->capture_default_str();
  add_common(verb, f->common);

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
