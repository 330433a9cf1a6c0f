#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "lowbit/base/error.h"
#include "lowbit/base/progress.h"
#include "lowbit/bench/ceiling_cache.h"
#include "lowbit/bench/generation.h"
#include "lowbit/bench/products.h"
#include "lowbit/bench/random_model.h"
#include "lowbit/bench/shapes.h"
#include "lowbit/cli/bench_flags.h"
#include "lowbit/cli/bench_output.h"
#include "lowbit/nn/load.h"

namespace lowbit::cli {
namespace {

constexpr char kFormats[] = "w4a4";
constexpr std::int64_t kMostPositions = 1 << 20;

struct BenchFlags {
  ShapeFlags shape;
  std::string prefill, decode, context = "0", threads = "0", batch = "1", isa, kernel, rows = "1,4,16,512",
                               output = "table";
  std::int64_t chunk = 512;
  std::uint64_t seed = 1;
  int rounds = 9;
  bool kernels = false, train = false;  ///< train: lowbit-train's (train_bench_command.cpp)
};

/// The flags, taken apart and checked.
struct Plan {
  std::vector<std::int64_t> prefill, decode, context, threads, batch, rows;
  std::vector<Isa> isas;
  Target target;
  std::int64_t positions = 1;  ///< the longest sequence
  int most_threads = 1;
};

Plan make_plan(BenchFlags& f) {
  Plan plan;
  if (f.kernels && !(f.prefill.empty() && f.decode.empty()))
    fail_usage("--kernels measures products alone; leave out --prefill and --decode");
  if (!f.kernels && f.prefill.empty() && f.decode.empty()) f.prefill = "512", f.decode = "128";
  if (!f.prefill.empty()) plan.prefill = numbers_of("--prefill", f.prefill, 1, kMostPositions);
  if (!f.decode.empty()) plan.decode = numbers_of("--decode", f.decode, 1, kMostPositions);
  plan.context = numbers_of("--context", f.context, 0, kMostPositions);
  plan.batch = numbers_of("--batch", f.batch, 1, 4096);
  plan.rows = numbers_of("--rows", f.rows, 1, 1 << 20);
  for (const std::int64_t threads : numbers_of("--threads", f.threads, 0, kMostThreads)) {
    plan.threads.push_back(resolve_threads(threads));
    plan.most_threads = std::max(plan.most_threads, static_cast<int>(plan.threads.back()));
  }
  if (f.isa.empty()) plan.isas = {active_isa()};
  for (const std::string& word : f.isa.empty() ? std::vector<std::string>{} : words_of("--isa", f.isa)) {
    plan.isas.push_back(isa_by_name(word));
    force_isa(plan.isas.back());  // refuses one that this processor lacks
  }
  for (const std::int64_t n : plan.prefill) plan.positions = std::max(plan.positions, n);
  for (const std::int64_t n : plan.decode)
    plan.positions = std::max(plan.positions, n + *std::max_element(plan.context.begin(), plan.context.end()));
  if (f.shape.model.empty() && f.shape.formats.empty()) f.shape.formats = kFormats;
  plan.target = resolve_target(f.shape, plan.positions);
  if (plan.positions > plan.target.config.positions)
    fail_input("{} positions are asked for, but {} has a context of {}", plan.positions, plan.target.name,
               plan.target.config.positions);
  for (const Isa isa : plan.isas) {
    force_isa(isa);
    for (const Scheme& scheme : plan.target.schemes)
      nn::force_kernel(f.kernel, scheme.format, scheme.scale_group != 0);  // refused before any work
  }
  const double batch = static_cast<double>(*std::max_element(plan.batch.begin(), plan.batch.end()));
  for (const Scheme& scheme : plan.target.schemes) {
    const double meter = 4.0 * static_cast<double>(cache_sizes().l3) + 256e6;
    double bytes = meter + 8.0 * static_cast<double>(plan.target.config.vocab * plan.target.config.width);
    if (!f.kernels)
      bytes = meter + bench::bytes_needed(plan.target.config, scheme) +
              bench::generation_bytes(plan.target.config, scheme.attention, static_cast<std::size_t>(plan.positions),
                                      static_cast<std::size_t>(f.chunk), static_cast<std::size_t>(batch));
    bench::require_memory(bytes, fmt::format("{} as {}", plan.target.name, scheme.name()));
  }
  return plan;
}

BenchResult result_of(const bench::Speed& speed, const nn::LlamaWeights& weights, int threads) {
  BenchResult r;
  r.format = weights.scheme.name();
  r.head = weights.scheme.head;
  r.kernel = weights.blocks.front().gate.kernel().name;
  r.threads = threads;
  r.unit = "tok/s";
  r.value = speed.tokens_per_second;
  r.bound = speed.bound;
  r.beside = speed.beside;
  return r;
}

void bench_generation(const BenchFlags& f, const Plan& plan, const Scheme& scheme, BenchOutput& output,
                      const std::function<void()>& step) {
  ThreadPool builders(plan.most_threads);
  const auto positions = static_cast<std::size_t>(plan.positions);
  const nn::LlamaWeights weights = plan.target.model.empty()
                                       ? bench::random_llama(builders, plan.target.config, scheme, positions, f.seed)
                                       : nn::load_llama(builders, model::ModelFolder(plan.target.model), positions);
  for (const std::int64_t threads : plan.threads) {
    ThreadPool pool(static_cast<int>(threads));
    CeilingMeter meter(pool);
    for (const std::int64_t tokens : plan.prefill) {
      const auto speed = bench::measure_prefill(pool, meter, weights, static_cast<std::size_t>(tokens),
                                                static_cast<std::size_t>(f.chunk), f.rounds);
      BenchResult r = result_of(speed, weights, pool.threads());
      r.what = fmt::format("prefill {}", tokens);
      output.add(r);
      step();
    }
    for (const std::int64_t tokens : plan.decode)
      for (const std::int64_t context : plan.context)
        for (const std::int64_t batch : plan.batch) {
          const auto speed =
              bench::measure_decode(pool, meter, weights, static_cast<std::size_t>(tokens),
                                    static_cast<std::size_t>(context), static_cast<std::size_t>(batch), f.rounds);
          BenchResult r = result_of(speed, weights, pool.threads());
          r.what = context > 0 ? fmt::format("decode {} behind {}", tokens, context) : fmt::format("decode {}", tokens);
          r.batch = batch;
          r.bytes_per_token = speed.amount_per_token;
          output.add(r);
          step();
        }
  }
}

void bench_products(const BenchFlags& f, const Plan& plan, const Scheme& scheme, BenchOutput& output,
                    const std::function<void()>& step) {
  const model::Config& config = plan.target.config;
  for (const std::int64_t threads : plan.threads) {
    ThreadPool pool(static_cast<int>(threads));
    CeilingMeter meter(pool);
    const Rates rates = typical_rates(active_isa(), pool.threads());
    for (const std::int64_t rows : plan.rows)
      for (const bench::LayerShape& layer : bench::layer_shapes(config, scheme)) {
        const nn::Product product{static_cast<std::size_t>(rows), layer.n, layer.k, layer.coding.format,
                                  static_cast<double>(config.block_parameters() + config.vocab * config.width),
                                  layer.coding.weight.slices(static_cast<std::int64_t>(layer.k)) > 1};
        const auto measured = bench::measure_product(pool, meter, rates, product, layer.coding, f.rounds, f.seed);
        const double operations = 2e-9 * static_cast<double>(rows) * static_cast<double>(layer.n * layer.k);
        BenchResult r;
        r.what = fmt::format("{} {}x{} rows {}", layer.name, layer.n, layer.k, rows);
        r.format = layer.coding.format.name();
        r.head = scheme.head;
        r.kernel = measured.choice.kernel->name;
        r.threads = pool.threads();
        r.batch = rows;
        r.unit = "GOP/s";
        r.value = bench::rate_of(measured.beside.seconds, operations);
        r.bound = measured.bound;
        r.beside = measured.beside;
        output.add(r);
        step();
      }
  }
}

void bench_all(BenchFlags& f) {
  const Plan plan = make_plan(f);
  BenchOutput output(f.output, f.rounds, plan.target.name);
  std::size_t cases = 0;
  for (const Scheme& scheme : plan.target.schemes)
    cases += f.kernels ? plan.rows.size() * bench::layer_shapes(plan.target.config, scheme).size()
                       : plan.prefill.size() + plan.decode.size() * plan.context.size() * plan.batch.size();
  Progress progress("bench", "case", static_cast<double>(cases * plan.threads.size() * plan.isas.size()));
  double done = 0;
  const auto step = [&] { progress.update(++done); };
  progress.update(0);
  for (const Isa isa : plan.isas) {
    force_isa(isa);
    bench::use_kept_rates(plan.most_threads);
    for (const Scheme& scheme : plan.target.schemes) {
      nn::force_kernel(f.kernel, scheme.format, scheme.scale_group != 0);
      f.kernels ? bench_products(f, plan, scheme, output, step) : bench_generation(f, plan, scheme, output, step);
    }
  }
  progress.finish();
  output.print();
}

}  // namespace

void add_bench(CLI::App& verb) {
  auto f = std::make_shared<BenchFlags>();
  declare_shape(verb, f->shape, kFormats);
  add_option(verb, "--prefill", f->prefill, "lengths of prompts in tokens, a list with ranges such as 512,64..512")
      ->type_name("LIST:1 to 1048576")
      ->default_str("512");
  add_option(verb, "--decode", f->decode, "tokens to generate one after another, a list")
      ->type_name("LIST:1 to 1048576")
      ->default_str("128");
  add_option(verb, "--context", f->context, "tokens that precede those of --decode, a list")
      ->type_name("LIST:0 to 1048576");
  add_option(verb, "--batch", f->batch, "sequences decoded together, a list")->type_name("LIST:1 to 4096");
  add_option(verb, "--threads", f->threads, "threads to compute with, a list; 0 stands for the default")
      ->type_name(fmt::format("LIST:0 to {}", kMostThreads))
      ->default_str("all processors granted");
  add_option(verb, "--isa", f->isa, fmt::format("instruction sets, a list of {}", fmt::join(isa_names(), ", ")))
      ->type_name("LIST")
      ->default_str("LOWBIT_ISA, else the best that the processor has");
  add_flag(verb, "--kernels", f->kernels,
           "measure the matrix products of the shape's layers alone, for each of --rows");
  add_option(verb, "--kernel", f->kernel, "use this kernel for the blocks: codes, packed, planes, ...")
      ->type_name("NAME")
      ->default_str("the fastest by the machine model");
  add_option(verb, "--rows", f->rows, "with --kernels: rows of activations, a list")->type_name("LIST:1 to 1048576");
  add_option(verb, "--rounds", f->rounds, {1, 1000}, "measurements of each figure, interleaved with its ceiling");
  add_option(verb, "--chunk", f->chunk, {1, 1 << 20}, "tokens of a prompt computed at a time");
  add_seed(verb, f->seed, "seed of the random weights");
  add_flag(verb, "--train", f->train, "measure a training step instead; lowbit bench --train --help lists its flags");
  add_choice(verb, "--output", f->output, {"table", "md", "csv", "json"}, "form of the results");
  verb.callback([f] { bench_all(*f); });
}

}  // namespace lowbit::cli
