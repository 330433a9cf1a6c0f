#include "lowbit/train/inputs.h"

#include "lowbit/autograd/torch_executor.h"
#include "lowbit/base/error.h"
#include "lowbit/base/file_map.h"
#include "lowbit/base/progress.h"
#include "lowbit/files/run_folder.h"
#include "lowbit/machine/memory.h"
#include "lowbit/model/model_folder.h"
#include "lowbit/report/metrics.h"
#include "lowbit/text/data_folder.h"

namespace lowbit::train {

namespace fs = std::filesystem;

namespace {

Teacher open_teacher(const Options& options) {
  const fs::path path = files::resolve_model(options.distill);
  const model::ModelFolder folder(path);
  Teacher teacher{path, folder.config(), folder.scheme()};
  model::Config& config = teacher.config;
  if (config.vocab != options.config.vocab)
    fail_input("--distill {}: the teacher has {} pieces, this model {}; both must read the same tokens", path.string(),
               config.vocab, options.config.vocab);
  config.positions = options.config.positions;
  config.bos = options.config.bos;
  config.eos = options.config.eos;
  return teacher;
}

}  // namespace

Inputs open_inputs(const Options& options) {
  Inputs in;
  const auto seq = options.seq;
  if (!options.batches.empty()) {
    in.feed = batches_feed(options.batches, seq, options.config.vocab);
    const auto needed = static_cast<std::uint64_t>(options.steps * options.batch);
    if (in.feed->windows() < needed)
      fail_input("{} holds {} windows, but {} steps of {} need {}", options.batches.string(), in.feed->windows(),
                 options.steps, options.batch, needed);
  } else {
    in.data = std::make_unique<text::DataFolder>(options.data);
    in.train_shard = &in.data->train();
    in.train_shard->verify();
    const auto vocab = static_cast<std::int64_t>(in.train_shard->counts().vocabulary);
    if (vocab > options.config.vocab)
      fail_usage("--vocab {} is smaller than the {} ids of {}", options.config.vocab, vocab, in.train_shard->path());
    in.feed = shard_feed(*in.train_shard, seq, options.seed);
    if (!in.data->tokenizer_file().empty()) {
      in.tokenizer_file = in.data->tokenizer_file();
      in.tokenizer = std::make_unique<text::Tokenizer>(text::Tokenizer::load(in.tokenizer_file));
    }
  }
  if (!options.eval_batches.empty()) {
    in.eval_feed = batches_feed(options.eval_batches, seq, options.config.vocab);
  } else if (in.data) {
    in.valid_shard = &in.data->valid();
    in.valid_shard->verify();
    if (static_cast<std::int64_t>(in.valid_shard->counts().vocabulary) > options.config.vocab)
      fail_usage("--vocab {} is smaller than the {} ids of {}", options.config.vocab,
                 in.valid_shard->counts().vocabulary, in.valid_shard->path());
  }
  if (!options.distill.empty()) in.teacher = open_teacher(options);
  if (in.train_shard && in.teacher)
    text::require_same_tokenizer(*in.train_shard, in.teacher->folder, in.teacher->config.vocab, "--distill");
  if (in.train_shard && !options.init.empty() && !options.resume)
    text::require_same_tokenizer(*in.train_shard, files::resolve_model(options.init), options.config.vocab, "--init");
  in.identity = files::identity_of({options.data, options.batches, options.eval_batches, options.distill});
  return in;
}

void require_recorded_data(const fs::path& run_json, const Inputs& inputs, const Options& options) {
  const auto info = report::parse_run_info(read_file(run_json));
  if (!info) return;
  const std::string part = files::other_data(info->data, inputs.identity);
  if (part.empty()) return;
  const bool shard = part == "train" || part == "valid";
  const fs::path& path = part == "batches" ? options.batches : part == "eval-batches" ? options.eval_batches
                         : part == "distill" ? options.distill : options.data;
  fail_input(
      "{} holds other data than this run was begun with ({} differs); name where its own data lies now with --{}, or "
      "start a new run with --init",
      path.string(), shard ? "the " + part + " shard" : "its content", shard ? "data" : part);
}

Prediction predict(const Options& options, const Inputs& inputs, const Peaks& peaks) {
  Prediction prediction = predict(options, peaks);
  if (inputs.teacher) {  // its weights in memory, and a forward pass beside a step of three
    const auto own = static_cast<double>(options.config.parameters());
    const auto teacher = static_cast<double>(inputs.teacher->config.parameters());
    prediction.memory_bytes += static_cast<std::int64_t>(12 * teacher);
    prediction.seconds_per_step *= 1 + teacher / (3 * own);
  }
  return prediction;
}

void require_memory(const Prediction& prediction) {
  const std::int64_t available = available_memory();
  if (prediction.memory_bytes > available)
    fail_input(
        "this run is predicted to need {} of memory, but {} are available; lower --micro-batch or --seq, or take a "
        "smaller model",
        human_bytes(static_cast<double>(prediction.memory_bytes)), human_bytes(static_cast<double>(available)));
}

Outline outline(const Options& options) {
  check(options);
  if (!options.init.empty()) files::resolve_model(options.init);
  const Inputs inputs = open_inputs(options);
  autograd::TorchExecutor executor(options.threads);
  Outline outline{predict(options, inputs, measure_peaks(executor)), inputs.held_out()};
  require_memory(outline.prediction);
  return outline;
}

}  // namespace lowbit::train
