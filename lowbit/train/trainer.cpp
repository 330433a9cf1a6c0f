#include "lowbit/train/trainer.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "lowbit/autograd/llama.h"
#include "lowbit/autograd/torch_executor.h"
#include "lowbit/base/error.h"
#include "lowbit/base/file_write.h"
#include "lowbit/base/interrupt.h"
#include "lowbit/base/progress.h"
#include "lowbit/base/words.h"
#include "lowbit/eval/evaluate.h"
#include "lowbit/files/run_folder.h"
#include "lowbit/machine/isa.h"
#include "lowbit/model/schedule.h"
#include "lowbit/report/bits_table.h"
#include "lowbit/report/run_log.h"
#include "lowbit/report/run_report.h"
#include "lowbit/report/summary.h"
#include "lowbit/run/window_losses.h"
#include "lowbit/train/bits.h"
#include "lowbit/train/checkpoint.h"
#include "lowbit/train/inputs.h"
#include "lowbit/train/predict.h"
#include "lowbit/train/run_info.h"
#include "lowbit/train/sample.h"

namespace lowbit::train {
namespace {

constexpr std::size_t kSampleShown = 100;  // bytes of a sample that a terminal line shows

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

double since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// One training run, from opening its data to its closing summary.
class Run {
 public:
  Run(const fs::path& folder, const Options& options)
      : folder_(folder), options_(options), executor_(options.threads), peaks_(measure_peaks(executor_)) {}

  void go() {
    find_start();
    if (finished_) {
      fmt::print(stderr, "{} is finished: all {} steps are done; give more --steps or --tokens to train on\n",
                 folder_.path().string(), options_.steps);
      return fmt::print("{}", report::closing_summary(report::read_run(folder_.path()), folder_.path()));
    }
    inputs_ = open_inputs(options_);
    if (options_.resume) require_recorded_data(folder_.run_json(), inputs_, options_);
    announce();
    open_teacher();
    llama_ = std::make_unique<autograd::Llama>(executor_, options_.config, options_.scheme, options_.backward,
                                               static_cast<std::size_t>(options_.seq));
    if (options_.gain_lr > 0) llama_->add_gains();
    optimizer_ = std::make_unique<AdamW>(executor_, *llama_,
                                         AdamWOptions{options_.beta1, options_.beta2, options_.eps,
                                                      options_.weight_decay, options_.clip, options_.gain_lr});
    begin();
    const Scheme now = scheme_of(options_, state_);
    llama_->set_format(now.format, now.layer_formats);
    llama_->refresh();
    if (teacher_) llama_->set_teacher(teacher_.get(), static_cast<float>(options_.distill_weight));
    llama_->set_recompute(options_.recompute);
    if (options_.profile) llama_->set_profile(&profile_);
    catch_up();
    loop();
    finish();
  }

 private:
  void find_start();
  void announce();
  void begin();
  void catch_up();
  void loop();
  void adapt_format();
  void after_step(const std::function<void()>& work);
  void finish();
  double step();
  void open_teacher();
  void pull_to_grid(double lr);
  void damp();
  void allot_bits();
  Scheme stored_scheme() const;
  void step_failed(double loss, std::span<const std::int32_t> ids);
  void log_masks();
  void evaluate(bool last);
  void save();
  void stop_if_interrupted();
  bool due(std::int64_t every) const { return every > 0 && state_.step % every == 0; }

  files::RunFolder folder_;
  Options options_;
  autograd::TorchExecutor executor_;
  Peaks peaks_;
  Prediction prediction_;
  Inputs inputs_;
  std::unique_ptr<autograd::Llama> llama_, teacher_;
  std::unique_ptr<AdamW> optimizer_;
  autograd::Profile profile_;
  std::unique_ptr<report::RunLog> log_;
  std::unique_ptr<Progress> progress_;
  std::optional<files::Checkpoint> start_from_;
  State state_;
  Companions companions_;
  bool finished_ = false;  ///< nothing is left to do
  double seconds_before_ = 0;  ///< of earlier sittings
  double last_grad_norm_ = 0;
  std::int64_t saved_step_ = -1;
  Clock::time_point start_, last_line_;
};

/// What can be refused without looking at data or weights.
void Run::find_start() {
  if (!options_.resume) {
    if (folder_.existed())
      fail_usage("{} already holds a run; continue it with --resume, or name another folder", folder_.path().string());
    return;
  }
  start_from_ = files::newest_complete(folder_.path(), files::Verify::hashes,
                                       [](std::string_view line) { fmt::print(stderr, "{}\n", line); });
  if (start_from_ && options_.steps < start_from_->step)
    fail_usage("{} is already at step {}, beyond the {} steps asked for", folder_.path().string(), start_from_->step,
               options_.steps);
  finished_ = start_from_ && start_from_->step == options_.steps && is_finished(folder_.path(), options_.steps);
}

void Run::open_teacher() {
  if (!inputs_.teacher) return;
  const Teacher& t = *inputs_.teacher;
  teacher_ = std::make_unique<autograd::Llama>(executor_, t.config, t.scheme, options_.backward, size(options_.seq));
  load_weights(t.folder, *teacher_);
  teacher_->refresh();
}

void Run::announce() {
  prediction_ = predict(options_, inputs_, peaks_);
  require_memory(prediction_);
  // Checkpoints that are there already are not written again; those beyond --keep make room.
  if (start_from_) files::prune_checkpoints(folder_.path(), options_.keep, start_from_->step);
  const auto there = static_cast<double>(files::checkpoint_bytes(folder_.path()));
  const double more = std::max(0.0, static_cast<double>(prediction_.disk_bytes) - there);
  std::error_code error;
  const fs::space_info disk = fs::space(folder_.path(), error);
  if (!error && more > static_cast<double>(disk.available))
    fail_input("its checkpoints are predicted to need {} more, but {} are free in {}; lower --keep or use another disk",
               human_bytes(more), human_bytes(static_cast<double>(disk.available)), folder_.path().string());
  const model::Config& c = options_.config;
  fmt::print(
      stderr,
      "model    {}, width {}, {} ({} key-value{}), MLP {}, vocabulary {}: {} parameters, {} of them in the blocks\n",
      counted(c.layers, "layer"), c.width, counted(c.heads, "head"), c.kv_heads, c.qk_norm ? ", normed" : "", c.mlp,
      c.vocab, human_count(static_cast<double>(c.parameters())),
      human_count(static_cast<double>(c.block_parameters())));
  const Scheme& s = options_.scheme;
  fmt::print(
      stderr, "format   {}, head {}, attention {}{}, backward {}\n", s.name(), s.head.name(), name_of(s.attention),
      s.quantized()
          ? fmt::format(", estimator {}, transform {}{}", name_of(s.estimator), name_of(s.transform), s.variations())
          : std::string(),
      kernels::name_of(options_.backward));
  fmt::print(stderr,
             "steps    {} of {} x {} tokens, {} tokens in all; schedule {}, peak learning rate {:.3g}{}, warm-up {}\n",
             options_.steps, options_.batch, options_.seq,
             human_count(static_cast<double>(options_.steps * options_.tokens_per_step())), options_.schedule,
             options_.lr, options_.gain_lr > 0 ? fmt::format(" (gains {:g} times that)", options_.gain_lr) : "",
             counted(options_.warmup, "step"));
  fmt::print(stderr, "machine  {}, {}, {}; measured peaks: int8 {:.0f}, bf16 {:.0f}, f32 {:.0f} GOP/s\n",
             cpu_features().name, isa_name(active_isa()), counted(options_.threads, "thread"), peaks_.int8 / 1e9,
             peaks_.bf16 / 1e9, peaks_.f32 / 1e9);
  fmt::print(stderr, "predicted {} of memory, about {} of time, {} of disk\n",
             human_bytes(static_cast<double>(prediction_.memory_bytes)),
             human_time(prediction_.seconds_per_step * static_cast<double>(options_.steps)),
             human_bytes(static_cast<double>(prediction_.disk_bytes)));
}

void Run::begin() {
  if (start_from_) {
    state_ = load_checkpoint(*start_from_, *llama_, *optimizer_);
    saved_step_ = state_.step;
    fmt::print(stderr, "resumed  from step {} ({})\n", state_.step, start_from_->folder.string());
  } else if (options_.resume) {
    fmt::print(stderr, "resumed  from step 0: {} holds no complete checkpoint\n", folder_.path().string());
  }
  if (state_.step == 0 && saved_step_ < 0) {
    if (options_.init.empty())
      llama_->initialize(options_.seed);
    else
      load_weights(files::resolve_model(options_.init), *llama_);
  }
  if (start_from_ || !options_.init.empty())
    companions_ =
        companions_of(start_from_ ? start_from_->folder : files::resolve_model(options_.init), inputs_.tokenizer_file);
  state_.total_steps = options_.steps;
  write_run_info(folder_.run_json(), options_, stored_scheme(), peaks_, prediction_, inputs_.identity);
  log_ = std::make_unique<report::RunLog>(folder_.path(), state_.step);
  if (state_.step > 0) {
    seconds_before_ = recorded_seconds(folder_.path());
    log_->add(report::EventRecord{state_.step, "resumed", ""});
  } else if (saved_step_ < 0) {
    save();  // so that even a run that dies at once can be gone on with, and its first weights looked at
  }
}

double Run::step() {
  const std::size_t seq = size(options_.seq), rows = size(options_.batch) * seq;
  std::vector<std::int32_t> ids(rows), targets(rows);
  std::vector<double> losses(rows);
  {
    const autograd::Profile::Scope timed(&profile_, autograd::Work::data);
    for (std::size_t i = 0; i < size(options_.batch); ++i)
      inputs_.feed->window(state_.cursor + i, std::span(ids).subspan(i * seq, seq),
                           std::span(targets).subspan(i * seq, seq));
  }
  llama_->zero_gradients();
  const std::size_t micro = size(options_.micro_batch) * seq;
  const float scale = 1.0f / static_cast<float>(rows);
  for (std::size_t at = 0; at < rows; at += micro) {
    // Nothing but gradients has changed so far, so a step that is given up here is as if it had not begun.
    if (at > 0) check_interrupt("stopped within a step");
    const std::size_t n = std::min(micro, rows - at);
    llama_->set_draws({options_.seed, static_cast<std::uint64_t>(state_.step), at / micro, rows});
    llama_->accumulate(std::span(ids).subspan(at, n), std::span(targets).subspan(at, n), seq, scale,
                       std::span(losses).subspan(at, n));
  }
  double sum = 0;
  for (const double loss : losses) sum += loss;
  // One stated rounding: the mean of the tokens' losses in double, in their order, rounded once to float32.
  const double loss = static_cast<double>(static_cast<float>(sum / static_cast<double>(rows)));
  if (!std::isfinite(loss)) step_failed(loss, std::span(ids).first(std::min(micro, rows)));
  damp();
  {
    const autograd::Profile::Scope timed(&profile_, autograd::Work::optimizer);
    last_grad_norm_ = optimizer_->update(state_.step + 1, learning_rate(options_, state_.step));
  }
  if (!std::isfinite(last_grad_norm_)) step_failed(last_grad_norm_, std::span(ids).first(std::min(micro, rows)));
  llama_->refresh();
  pull_to_grid(learning_rate(options_, state_.step));
  ++state_.step;
  state_.cursor += static_cast<std::uint64_t>(options_.batch);
  state_.tokens += options_.tokens_per_step();
  return loss;
}

/// What a step changes about the format: bits allotted once, the end of a float start. Doing it again changes nothing,
/// so a run that was stopped before it was done repeats it.
void Run::adapt_format() {
  const bool allot = options_.bits_budget > 0 && state_.bits_step == 0 && state_.step >= bits_step(options_);
  if (allot) allot_bits();
  const Scheme next = scheme_of(options_, state_);
  if (next.format != llama_->weights().scheme.format || next.layer_formats != llama_->weights().scheme.layer_formats) {
    llama_->set_format(next.format, next.layer_formats);
    llama_->refresh();
    if (!allot) log_->add(report::EventRecord{state_.step, "format", next.name()});
  }
}

/// What was to come between the step that was saved and the next one, where the run was stopped in between.
void Run::catch_up() {
  progress_ =
      std::make_unique<Progress>("train", "tok", static_cast<double>(options_.steps * options_.tokens_per_step()));
  if (state_.step == 0) return;
  after_step([&] {
    adapt_format();
    const bool last = state_.step == options_.steps;
    if ((last || due(options_.eval_every)) && !has_evaluation(folder_.path(), state_.step)) evaluate(last);
  });
}

/// Does work that Ctrl-C may stop; what the step gave is saved before it stops.
void Run::after_step(const std::function<void()>& work) {
  try {
    work();
  } catch (const Interrupted&) {
    stop_if_interrupted();
    throw;
  }
}

void Run::allot_bits() {
  const auto start = Clock::now();
  const report::BitsRecord record =
      choose_bits(executor_, *llama_, *inputs_.feed, state_.cursor, state_.step, options_, state_.allotted);
  state_.bits_step = state_.step;
  saved_step_ = -1;  // a checkpoint of this step from before is not this state
  log_->add(record);
  write_file(folder_.path() / "bits.json", report::to_json(record));
  write_run_info(folder_.run_json(), options_, stored_scheme(), peaks_, prediction_, inputs_.identity);
  log_->add(report::EventRecord{state_.step, "bits",
                                fmt::format("measured in {:.1f} s: {}", since(start), text_of(state_.allotted))});
  progress_->line(report::bits_table(record));
}

/// What the run will have stored when it ends, as far as is known.
Scheme Run::stored_scheme() const {
  Scheme scheme = options_.scheme;
  if (state_.bits_step > 0) scheme.layer_formats = state_.allotted;
  return scheme;
}

// CAGE: w -= lr lambda_t (w - Q(w)), where lambda_t is 0 up to the start and then rises to lambda in a straight line.
// source  Tabesh et al. 2025, arXiv 2510.18784, the decoupled form.
void Run::pull_to_grid(double lr) {
  const auto steps = static_cast<double>(options_.steps), start = options_.cage_start * steps;
  const double risen = (static_cast<double>(state_.step + 1) - start) / (steps - start);
  if (options_.cage == 0 || risen <= 0 || !llama_->weights().scheme.quantized()) return;
  llama_->pull_to_grid(std::min(1.0, lr * options_.cage * risen));
  llama_->refresh();
}

// The gradient of lambda_t / 2 |w - Q(w)|^2 beside that of the loss, lambda_t rising in a straight line to lambda.
// source  Nagel et al. 2022, arXiv 2203.11086, section 4.2; what is clamped is damped too.
void Run::damp() {
  if (options_.damp == 0 || !llama_->weights().scheme.quantized()) return;
  llama_->damp(options_.damp * static_cast<double>(state_.step + 1) / static_cast<double>(options_.steps));
}

void Run::step_failed(double value, std::span<const std::int32_t> ids) {
  const std::int64_t layer = llama_->first_bad_layer(ids, size(options_.seq));
  const std::string where =
      layer >= 0 ? fmt::format("block {} is the first whose output is not finite", layer)
                 : std::string("every block's output is finite, so it arose in the head or the gradients");
  log_->add(report::EventRecord{state_.step + 1, "stopped", fmt::format("the loss became {}; {}", value, where)});
  report::write_run_report(folder_.path());
  fail(
      "the loss became {} at step {}: {}. The checkpoint of step {} is kept; resume with a lower --lr in a new run "
      "(--init)",
      value, state_.step + 1, where, saved_step_);
}

/// Of the step that was just done: a resumed run no longer knows them, so they are recorded before an evaluation, which
/// may be stopped.
void Run::log_masks() {
  report::MasksRecord masks;
  masks.step = state_.step;
  for (const autograd::MaskShare& share : llama_->mask_shares())
    masks.layers.push_back({share.layer, share.weight, share.input});
  if (inputs_.held_out() && !masks.layers.empty()) log_->add(masks);
}

void Run::evaluate(bool last) {
  if (!inputs_.held_out()) return;
  const auto start = Clock::now();
  run::WindowLosses losses(executor_, llama_->weights(), size(options_.seq));
  eval::EvaluationOptions options;
  options.length = size(options_.seq);
  options.windows_at_once = losses.windows_at_once();
  options.bytes_per_token = options_.bytes_per_token;
  const auto apply = [&](auto ids, auto targets, std::size_t n, auto out) { losses(ids, targets, n, out); };
  if (inputs_.tokenizer && inputs_.tokenizer->unk())
    options.unknown = static_cast<std::int32_t>(*inputs_.tokenizer->unk());
  // The last evaluation reads all held-out text. The earlier ones read the beginning of it, and their curve goes on
  // with the same text, since the rest may be easier or harder.
  const std::int64_t some =
      inputs_.eval_feed && options_.eval_windows > 0 ? options_.eval_windows * options_.seq : options_.eval_tokens;
  (last ? options.first_tokens : options.most_tokens) = some;
  const eval::Evaluation result =
      inputs_.eval_feed
          ? eval::evaluate_windows(
                inputs_.eval_feed->windows(),
                [&](std::uint64_t i, auto ids, auto targets) { inputs_.eval_feed->window(i, ids, targets); }, apply,
                options)
          : eval::evaluate(eval::stream_of(*inputs_.valid_shard), apply, options);
  report::EvalRecord record;
  record.step = state_.step;
  record.nats_per_token = result.nats_per_token;
  record.nats_per_token_interval = report::Interval{result.nats_interval.low, result.nats_interval.high};
  record.bits_per_byte = result.bits_per_byte;
  if (result.bits_interval)
    record.bits_per_byte_interval = report::Interval{result.bits_interval->low, result.bits_interval->high};
  record.tokens = result.tokens;
  record.bytes = result.bytes;
  if (result.first && result.first->tokens < result.tokens)
    record.first =
        report::EvalRecord::First{result.first->nats_per_token, result.first->bits_per_byte, result.first->tokens};
  record.seconds = since(start);
  std::string line = fmt::format("step {:>6}  held-out {:.4f} nats per token", state_.step, result.nats_per_token);
  if (result.bits_per_byte) line += fmt::format(", {:.4f} bits per byte", *result.bits_per_byte);
  if (result.bits_refused)
    line += fmt::format(", no bits per byte: {:.3g} % of the tokens are <unk>",
                        100 * static_cast<double>(result.unknown_tokens) / static_cast<double>(result.tokens));
  if (record.first)
    line += fmt::format(" over all {} tokens; {:.4f} over the {} of earlier evaluations", result.tokens,
                        record.first->nats_per_token, record.first->tokens);
  if (inputs_.tokenizer && options_.sample_tokens > 0) {
    const std::string text = draw_sample(executor_, llama_->weights(), *inputs_.tokenizer, size(options_.sample_tokens),
                                         options_.seed, static_cast<std::uint64_t>(state_.step));
    log_->add(record);  // together with the sample, which Ctrl-C may cut short
    log_->add(report::SampleRecord{state_.step, "", text});
    line += "\n  | " + excerpt(text, kSampleShown);
  } else {
    log_->add(record);
  }
  progress_->line(line);
}

void Run::save() {
  save_checkpoint(folder_.path(), state_, options_, *llama_, *optimizer_, inputs_.tokenizer_file, companions_);
  if (log_) log_->sync();
  saved_step_ = state_.step;
  files::prune_checkpoints(folder_.path(), options_.keep, state_.step);
}

void Run::stop_if_interrupted() {
  if (!interrupted()) return;
  if (saved_step_ != state_.step) save();
  log_->add(report::EventRecord{state_.step, "interrupted", ""});
  report::write_run_report(folder_.path());
  progress_->finish();
  throw Interrupted(fmt::format("stopped at step {}, saved; continue with: lowbit train --resume --out {}", state_.step,
                                folder_.path().string()));
}

void Run::loop() {
  start_ = last_line_ = Clock::now();
  const double peak_seconds = peak_seconds_per_step(options_, peaks_);
  stop_if_interrupted();
  while (state_.step < options_.steps) {
    const auto step_start = Clock::now();
    const double lr = learning_rate(options_, state_.step);
    double loss = 0;
    after_step([&] { loss = step(); });
    const double took = since(step_start);
    profile_.end_step(took);
    report::StepRecord record;
    record.step = state_.step;
    record.loss = loss;
    record.lr = lr;
    record.grad_norm = last_grad_norm_;
    record.tokens = state_.tokens;
    record.seconds = seconds_before_ + since(start_);
    record.tok_s = static_cast<double>(options_.tokens_per_step()) / took;
    record.peak_share = peak_seconds / took;
    log_->add(record);
    const std::string note = fmt::format("step {}/{}  loss {:.4f}  {:.0f} tok/s  {:.0f} % of peak", state_.step,
                                         options_.steps, loss, record.tok_s, 100 * record.peak_share);
    progress_->update(static_cast<double>(state_.tokens), note);
    const bool last = state_.step == options_.steps;
    if (!progress_->shown() && (since(last_line_) > 10 || last)) {
      last_line_ = Clock::now();
      const double left = took * static_cast<double>(options_.steps - state_.step);
      fmt::print(stderr, "{}  {} left\n", note, human_time(left));
    }
    after_step([&] {
      const bool evaluates = last || due(options_.eval_every);
      if (evaluates) log_masks();  // before the choice of bits too, which Ctrl-C may cut short
      adapt_format();
      if (evaluates) evaluate(last);
    });
    if (last || due(options_.checkpoint_every)) save();
    stop_if_interrupted();
  }
}

void Run::finish() {
  progress_->finish();
  log_->add(report::EventRecord{state_.step, "finished", ""});
  log_->sync();
  report::write_run_report(folder_.path());
  if (options_.profile) fmt::print("{}\n", profile_.table());
  fmt::print("{}", report::closing_summary(report::read_run(folder_.path()), folder_.path()));
}

}  // namespace

double learning_rate(const Options& o, std::int64_t step) {
  return o.schedule == "wsd" ? model::wsd(step, o.steps, o.warmup, o.cooldown, o.lr)
                             : model::one_cycle_cosine(step, o.steps, o.warmup, o.lr, o.final_lr);
}

void train(const fs::path& run_folder, const Options& options) {
  check(options);
  Run(run_folder, options).go();
}

Options recorded_options(const fs::path& run_folder) {
  const fs::path path = run_folder / "run.json";
  if (!fs::exists(path)) fail_input("{} holds no run.json, so there is no run to resume", run_folder.string());
  const auto info = report::parse_run_info(read_file(path));
  if (!info) fail_input("{} cannot be read", path.string());
  return from_flags(info->flags, path.string());
}

}  // namespace lowbit::train
