#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "lowbit/autograd/torch_executor.h"
#include "lowbit/base/progress.h"
#include "lowbit/cli/bench_flags.h"
#include "lowbit/cli/bench_output.h"
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
  check_output_form(f.output);
  Plan plan;
  plan.batch = numbers_of("--batch", f.batch, 1, 1 << 20);
  plan.seq = numbers_of("--seq", f.seq, 1, 1 << 20);
  for (const std::int64_t threads : numbers_of("--threads", f.threads, 0, 1024))
    plan.threads.push_back(threads > 0 ? threads : available_threads());
  for (const std::string& word : words_of("--backward", f.backward)) plan.backward.push_back(train::parse_precision(word));
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
            r.what = fmt::format("train {} x {}, {}{}", batch, seq, kernels::name_of(backward), f.recompute ? ", recompute" : "");
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
  add_flag(verb, "--train", f->train, "a step of training: forward, backward, optimizer, coding of the weights");
  add_option(verb, "--shape", f->shape.shape,
             "smollm2-135m, llama-1b, 107m, a --size of train, or WIDTHxLAYERSxHEADSxKVxMLPxVOCAB")->required();
  add_option(verb, "--format", f->shape.formats, fmt::format("formats, in a list (default {})", kFormats));
  add_option(verb, "--head", f->shape.head, "bf16, w8a8, w4a8 or f32 (default: as the format has it)");
  add_option(verb, "--batch", f->batch, "sequences of a step, a list")->capture_default_str();
  add_option(verb, "--micro-batch", f->micro_batch, "sequences computed at once (default: as train takes them)")
      ->check(CLI::Range(1, 1 << 20));
  add_option(verb, "--seq", f->seq, "tokens of a sequence, a list")->capture_default_str();
  add_option(verb, "--backward", f->backward, "operands of the backward products, a list of bf16, f32, int8")->capture_default_str();
  add_flag(verb, "--recompute", f->recompute, "as train has it");
  add_option(verb, "--threads", f->threads, "a list; 0: as many as this process may use")->capture_default_str();
  add_option(verb, "--isa", f->isa, "scalar, avx2 or avx512 (default the best)");
  add_option(verb, "--rounds", f->rounds, "steps that are timed, in turns with the peak")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
  add_option(verb, "--seed", f->seed, "of weights and tokens")->capture_default_str();
  add_option(verb, "--output", f->output, "table, md, csv or json")->capture_default_str();
  verb.callback([f] { bench_steps(*f); });
}

}  // namespace lowbit::cli
