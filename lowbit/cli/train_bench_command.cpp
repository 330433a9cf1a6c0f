#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "lowbit/autograd/torch_executor.h"
#include "lowbit/base/progress.h"
#include "lowbit/cli/bench_flags.h"
#include "lowbit/cli/bench_output.h"
#include "lowbit/formats/words.h"
#include "lowbit/machine/isa.h"
#include "lowbit/train/measure_step.h"
#include "lowbit/train/recipe.h"

namespace lowbit::cli {
namespace {

constexpr char kFormats[] = "w4a4";

struct TrainBenchFlags {
  ShapeFlags shape;
  std::string batch = "8", seq = "256", threads = "0", backward = "bf16", isa, output = "table";
  std::int64_t micro_batch = 0;
  std::uint64_t seed = 1;
  int rounds = 9;
  bool recompute = false, train = true;
};

struct Plan {
  std::vector<std::int64_t> batch, seq, threads;
  std::vector<kernels::Precision> backward;
  Target target;
};

Plan make_plan(TrainBenchFlags& f) {
  Plan plan;
  plan.batch = numbers_of("--batch", f.batch, 1, 1 << 20);
  plan.seq = numbers_of("--seq", f.seq, 1, 1 << 20);
  for (const std::int64_t threads : numbers_of("--threads", f.threads, 0, kMostThreads))
    plan.threads.push_back(resolve_threads(threads));
  for (const std::string& word : words_of("--backward", f.backward))
    plan.backward.push_back(train::parse_precision(word));
  if (f.shape.formats.empty()) f.shape.formats = kFormats;
  plan.target = resolve_target(f.shape, plan.seq.front());
  if (!f.isa.empty()) force_isa(isa_by_name(f.isa));
  return plan;
}

void bench_steps(TrainBenchFlags& f) {
  const Plan plan = make_plan(f);
  BenchOutput output(f.output, f.rounds, plan.target.name);
  Progress progress("bench", "case", static_cast<double>(plan.batch.size() * plan.seq.size() * plan.threads.size() *
                                                         plan.backward.size() * plan.target.schemes.size()));
  double done = 0;
  progress.update(0);
  for (const std::int64_t threads : plan.threads) {
    autograd::TorchExecutor executor(static_cast<int>(threads));
    CeilingMeter meter(executor);
    for (const Scheme& scheme : plan.target.schemes)
      for (const kernels::Precision backward : plan.backward)
        for (const std::int64_t seq : plan.seq)
          for (const std::int64_t batch : plan.batch) {
            train::Options o;
            o.config = plan.target.config;
            o.config.positions = o.seq = seq;
            o.scheme = scheme;
            o.backward = backward;
            o.batch = batch;
            o.micro_batch = std::min(f.micro_batch, batch);
            o.steps = 1;
            o.seed = f.seed;
            o.recompute = f.recompute;
            o.threads = static_cast<int>(threads);
            train::apply_quest_recipe(o, 0);
            const train::StepSpeed speed = train::measure_step(executor, meter, o, f.rounds);
            BenchResult r;
            r.what = fmt::format("train {} x {}, {}{}", batch, seq, kernels::name_of(backward),
                                 f.recompute ? ", recompute" : "");
            r.format = scheme.name();
            r.head = scheme.head;
            r.threads = static_cast<int>(threads);
            r.batch = batch;
            r.unit = "tok/s";
            r.value = speed.tokens_per_second;
            r.bound = Ceiling::bf16;
            r.beside = speed.beside;
            output.add(r);
            progress.update(++done);
          }
  }
  progress.finish();
  output.print();
}

}  // namespace

void add_train_bench(CLI::App& verb) {
  auto f = std::make_shared<TrainBenchFlags>();
  add_flag(verb, "--train", f->train, "measure a training step: forward, backward, optimizer, coding of the weights");
  add_option(verb, "--shape", f->shape.shape, fmt::format("shape of the model: {}", kShapeWords))
      ->required()
      ->type_name("NAME");
  add_option(verb, "--format", f->shape.formats, "formats, a list; lowbit train --help describes them")
      ->type_name("LIST")
      ->default_str(kFormats);
  add_choice(verb, "--head", f->shape.head, head_words(), "format of the head and embedding")
      ->default_str("bf16; f32 with --format f32");
  add_option(verb, "--batch", f->batch, "sequences per step, a list")->type_name("LIST:1 to 1048576");
  add_option(verb, "--micro-batch", f->micro_batch, {1, 1 << 20}, "sequences computed at a time")
      ->default_str("as train chooses it");
  add_option(verb, "--seq", f->seq, "tokens per sequence, a list")->type_name("LIST:1 to 1048576");
  add_option(verb, "--backward", f->backward, "operands of the backward products, a list of bf16, f32, int8")
      ->type_name("LIST");
  add_flag(verb, "--recompute", f->recompute, "recompute part of the forward pass during the backward pass");
  add_option(verb, "--threads", f->threads, "threads to compute with, a list; 0 stands for the default")
      ->type_name(fmt::format("LIST:0 to {}", kMostThreads))
      ->default_str("all processors granted");
  add_choice(verb, "--isa", f->isa, isa_names(), "instruction set")
      ->default_str("LOWBIT_ISA, else the best that the processor has");
  add_option(verb, "--rounds", f->rounds, {1, 1000}, "timed steps, interleaved with measurements of the peak");
  add_seed(verb, f->seed, "seed of weights and tokens");
  add_choice(verb, "--output", f->output, {"table", "md", "csv", "json"}, "form of the results");
  verb.callback([f] { bench_steps(*f); });
}

}  // namespace lowbit::cli
