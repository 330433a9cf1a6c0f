#include "lowbit/train/options.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <map>

#include "lowbit/base/error.h"
#include "lowbit/train/bits.h"

namespace lowbit::train {
namespace {

constexpr std::array<std::string_view, 11> kFree{
    "steps",           "eval-every",    "eval-tokens", "eval-windows", "checkpoint-every", "keep", "threads",
    "bytes-per-token", "sample-tokens", "tokens",      "isa"};

/// What came after the first release: a run that began without them had their defaults.
constexpr std::array<std::string_view, 20> kLater{
    "layer-formats",  "bits-budget", "bits-at",     "bits-choices",  "final-lr",     "gain-lr",
    "cage",           "cage-start",  "float-start", "distill",       "scale",        "grid",
    "distill-weight", "share-steps", "qk-norm",     "fp4-threshold", "sparse-scale", "recipe",
    "damp",           "scale-group"};

/// One list of names, walked for writing and for reading, so that the two cannot drift apart.
template <class Visitor>
void visit(Options& o, Visitor&& field) {
  field("data", o.data);
  field("batches", o.batches);
  field("eval-batches", o.eval_batches);
  field("init", o.init);
  field("layers", o.config.layers);
  field("width", o.config.width);
  field("heads", o.config.heads);
  field("kv-heads", o.config.kv_heads);
  field("head-dim", o.config.head_dim);
  field("mlp", o.config.mlp);
  field("vocab", o.config.vocab);
  field("norm-eps", o.config.norm_eps);
  field("rope-theta", o.config.rope_theta);
  field("tied", o.config.tied);
  field("qk-norm", o.config.qk_norm);
  field("format", o.scheme.format);
  field("layer-formats", o.scheme.layer_formats);
  field("head", o.scheme.head);
  field("attention", o.scheme.attention);
  field("estimator", o.scheme.estimator);
  field("transform", o.scheme.transform);
  field("outer-trust", o.scheme.outer_trust);
  field("scale", o.scheme.scale);
  field("scale-group", o.scheme.scale_group);
  field("grid", o.scheme.grid);
  field("fp4-threshold", o.scheme.fp4_threshold);
  field("sparse-scale", o.scheme.sparse_scale);
  field("share-steps", o.scheme.share_steps);
  field("backward", o.backward);
  field("recipe", o.recipe);
  field("schedule", o.schedule);
  field("steps", o.steps);
  field("warmup", o.warmup);
  field("cooldown", o.cooldown);
  field("final-lr", o.final_lr);
  field("batch", o.batch);
  field("micro-batch", o.micro_batch);
  field("seq", o.seq);
  field("lr", o.lr);
  field("beta1", o.beta1);
  field("beta2", o.beta2);
  field("adam-eps", o.eps);
  field("weight-decay", o.weight_decay);
  field("clip", o.clip);
  field("gain-lr", o.gain_lr);
  field("cage", o.cage);
  field("cage-start", o.cage_start);
  field("damp", o.damp);
  field("float-start", o.float_start);
  field("bits-budget", o.bits_budget);
  field("bits-at", o.bits_at);
  field("bits-choices", o.bits_choices);
  field("distill", o.distill);
  field("distill-weight", o.distill_weight);
  field("seed", o.seed);
  field("eval-every", o.eval_every);
  field("eval-tokens", o.eval_tokens);
  field("eval-windows", o.eval_windows);
  field("checkpoint-every", o.checkpoint_every);
  field("keep", o.keep);
  field("threads", o.threads);
  field("bytes-per-token", o.bytes_per_token);
  field("sample-tokens", o.sample_tokens);
}

std::string text_of(const std::filesystem::path& v) { return v.string(); }
std::string text_of(const std::string& v) { return v; }
std::string text_of(const Format& v) { return v.name(); }
std::string text_of(AttentionFormat v) { return std::string(name_of(v)); }
std::string text_of(Estimator v) { return std::string(name_of(v)); }
std::string text_of(Transform v) { return std::string(name_of(v)); }
std::string text_of(ScaleRule v) { return std::string(name_of(v)); }
std::string text_of(GridShape v) { return std::string(name_of(v)); }
std::string text_of(Fp4Threshold v) { return std::string(name_of(v)); }
std::string text_of(SparseScale v) { return std::string(name_of(v)); }
std::string text_of(kernels::Precision v) { return kernels::name_of(v); }
std::string text_of(bool v) { return v ? "true" : "false"; }
template <class Number>
  requires std::is_arithmetic_v<Number>
std::string text_of(Number v) {
  return fmt::format("{}", v);  // shortest text that reads back as the same number
}

void read(std::string_view text, std::filesystem::path& v) { v = text; }
void read(std::string_view text, std::string& v) { v = text; }
void read(std::string_view text, Format& v) { v = parse_format(text); }
void read(std::string_view text, std::vector<LayerFormat>& v) { v = parse_layer_formats(text); }
void read(std::string_view text, AttentionFormat& v) { v = parse_attention(text); }
void read(std::string_view text, Estimator& v) { v = parse_estimator(text); }
void read(std::string_view text, Transform& v) { v = parse_transform(text); }
void read(std::string_view text, ScaleRule& v) { v = parse_scale_rule(text); }
void read(std::string_view text, GridShape& v) { v = parse_grid_shape(text); }
void read(std::string_view text, Fp4Threshold& v) { v = parse_fp4_threshold(text); }
void read(std::string_view text, SparseScale& v) { v = parse_sparse_scale(text); }
void read(std::string_view text, kernels::Precision& v) { v = parse_precision(text); }
void read(std::string_view text, bool& v) { v = text == "true"; }
template <class Number>
  requires std::is_arithmetic_v<Number>
void read(std::string_view text, Number& v) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), v);
  if (error != std::errc() || end != text.data() + text.size()) fail_input("'{}' is not a number", text);
}

void require(bool good, std::string_view message) {
  if (!good) fail_usage("{}", message);
}

}  // namespace

kernels::Precision parse_precision(std::string_view word) {
  if (word == "f32") return kernels::Precision::f32;
  if (word == "bf16") return kernels::Precision::bf16;
  if (word == "int8") return kernels::Precision::int8;
  fail_usage("unknown --backward '{}'; choose f32, bf16 or int8", word);
}

bool is_free_flag(std::string_view name) { return std::find(kFree.begin(), kFree.end(), name) != kFree.end(); }

void check(const Options& o) {
  require(o.data.empty() != o.batches.empty(), "give either --data DIR or --batches FILE");
  require(o.steps >= 1 && o.steps <= std::int64_t{1} << 40, "--steps must be at least 1");
  require(o.batch >= 1 && o.batch <= 1 << 20, "--batch must lie in 1..1048576 sequences");
  require(o.micro_batch >= 1 && o.micro_batch <= o.batch, "--micro-batch must lie between 1 and --batch");
  require(o.seq >= 1 && o.seq <= 1 << 20, "--seq must lie in 1..1048576 tokens");
  require(std::isfinite(o.lr) && o.lr > 0 && o.lr <= 10, "--lr must lie in (0, 10]");
  require(o.beta1 >= 0 && o.beta1 < 1, "--beta1 must lie in [0, 1)");
  require(o.beta2 >= 0 && o.beta2 < 1, "--beta2 must lie in [0, 1)");
  require(o.eps > 0 && o.eps < 1, "--adam-eps must lie in (0, 1)");
  require(o.weight_decay >= 0 && o.weight_decay < 10, "--weight-decay must lie in [0, 10)");
  require(std::isfinite(o.clip) && o.clip > 0, "--clip must be positive (a large number clips nothing)");
  require(o.schedule == "cosine" || o.schedule == "wsd", "--schedule must be cosine or wsd");
  require(o.warmup >= 0 && o.warmup <= o.steps, "--warmup must lie between 0 and the number of steps");
  require(o.cooldown >= 0 && o.warmup + o.cooldown <= o.steps,
          "--warmup and --cooldown together exceed the number of steps");
  require(o.final_lr >= 0 && o.final_lr <= 1, "--final-lr must lie in [0, 1]");
  require(std::isfinite(o.gain_lr) && o.gain_lr >= 0, "--gain-lr must not be negative");
  require(std::isfinite(o.cage) && o.cage >= 0, "--cage must not be negative");
  require(o.cage_start >= 0 && o.cage_start < 1, "--cage-start must lie in [0, 1)");
  require(std::isfinite(o.damp) && o.damp >= 0, "--damp must not be negative");
  require(o.float_start >= 0 && o.float_start < 1, "--float-start must lie in [0, 1)");
  require(o.distill_weight >= 0 && o.distill_weight <= 1, "--distill-weight must lie in [0, 1]");
  if (!o.scheme.quantized() && (o.cage > 0 || o.damp > 0 || o.float_start > 0))
    fail_usage("--cage, --damp and --float-start are for low-bit formats, which {} is not", o.scheme.format.name());
  if (is_learned(o.scheme.estimator) && (o.gain_lr > 0 || o.float_start > 0))
    fail_usage(
        "--estimator {} learns steps, which are gains from the first step on: leave --gain-lr and --float-start out",
        name_of(o.scheme.estimator));
  const std::vector<Format> words = o.scheme.words();
  const char* const pull = o.cage > 0 ? "--cage" : "--damp";
  if ((o.cage > 0 || o.damp > 0) && o.scheme.estimator == Estimator::adabin)
    fail_usage("{} pulls weights to a grid around 0; the two values of adabin lie around each row's mean: leave it out",
               pull);
  if ((o.cage > 0 || o.damp > 0) && std::none_of(words.begin(), words.end(), [](const Format& f) { return f.weight; }))
    fail_usage("{} pulls weights to their grid, which {} does not have", pull, o.scheme.format.name());
  require(o.keep >= 1, "--keep must be at least 1");
  require(
      o.eval_every >= 0 && o.checkpoint_every >= 0 && o.eval_tokens >= 0 && o.eval_windows >= 0 && o.sample_tokens >= 0,
      "--eval-every, --eval-tokens, --eval-windows, --checkpoint-every and --sample-tokens must not be negative");
  require(o.threads >= 1 && o.threads <= 4096, "--threads must lie in 1..4096");
  require(std::isfinite(o.bytes_per_token) && o.bytes_per_token >= 0, "--bytes-per-token must be positive");
  for (const Format& word : words) {
    const Format coded = o.scheme.with_grids(word);
    if (o.backward != kernels::Precision::int8 || coded.integer() || (coded.weight_only() && coded.weight->integer()))
      continue;
    if (!word.quantized() && o.scheme.quantized()) continue;  // bf16 layers among others: their products stay so
    fail_usage(
        "--backward int8 multiplies gradients by integer codes, which --format {}{} does not have; choose bf16 or f32",
        word.name(), o.scheme.variations());
  }
  o.config.check(o.scheme);
  if (o.bits_budget == 0) return;
  require(std::isfinite(o.bits_budget) && o.bits_budget > 0, "--bits-budget must be positive");
  require(o.bits_at >= o.float_start && o.bits_at > 0 && o.bits_at < 1,
          "--bits-at must lie in (0, 1), not before the end of --float-start");
  if (is_learned(o.scheme.estimator))
    fail_usage(
        "--bits-budget changes grids, but --estimator {} has learned steps that fit theirs: choose trust, clip or ste",
        name_of(o.scheme.estimator));
  plan_bits(o);
}

Scheme scheme_at(const Options& o, std::int64_t step) {
  Scheme scheme = o.scheme;
  if (step >= static_cast<std::int64_t>(o.float_start * static_cast<double>(o.steps))) return scheme;
  scheme.format = {Format::Kind::bf16};
  scheme.layer_formats.clear();
  return scheme;
}

std::vector<std::pair<std::string, std::string>> to_flags(const Options& options) {
  std::vector<std::pair<std::string, std::string>> flags;
  Options copy = options;
  visit(copy, [&](std::string_view name, auto& value) { flags.emplace_back(name, text_of(value)); });
  return flags;
}

Options from_flags(const std::vector<std::pair<std::string, std::string>>& flags, const std::string& where) {
  const std::map<std::string_view, std::string_view> map(flags.begin(), flags.end());
  Options options;
  visit(options, [&](std::string_view name, auto& value) {
    const auto found = map.find(name);
    if (found == map.end() && std::find(kLater.begin(), kLater.end(), name) != kLater.end()) return;
    if (found == map.end()) fail_input("{}: the flag '{}' is missing, so this run cannot be resumed", where, name);
    try {
      read(found->second, value);
    } catch (const Error& error) {
      fail_input("{}: flag '{}': {}", where, name, error.what());
    }
  });
  options.config.positions = options.seq;
  return options;
}

}  // namespace lowbit::train
