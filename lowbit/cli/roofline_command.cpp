#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <memory>

#include "lowbit/base/error.h"
#include "lowbit/base/progress.h"
#include "lowbit/base/words.h"
#include "lowbit/bench/ceiling_cache.h"
#include "lowbit/bench/products.h"
#include "lowbit/bench/random_model.h"
#include "lowbit/bench/shapes.h"
#include "lowbit/bench/table.h"
#include "lowbit/cli/bench_flags.h"

namespace lowbit::cli {
namespace {

using bench::short_number;
using files::Json;

constexpr char kFormats[] = "w4a4,w2a4,w1a1";

struct RooflineFlags {
  CommonFlags common;
  ShapeFlags shape;
  std::string rows = "1,512";
  int rounds = 5;
  std::string kernel;
  bool fresh = false, model_only = false;
};

std::string range(const Figure& f, double unit) {
  return fmt::format("{}..{}", short_number(f.lowest / unit), short_number(f.highest / unit));
}

std::string busy_note(const Load& load) {
  return fmt::format("others used {:.0f} % of the processors, {:.0f} % were stolen, load {:.1f}", 100 * load.others,
                     100 * load.steal, load.average);
}

void print_ceilings(const Ceilings& c) {
  fmt::print("{}, {}; caches {} KiB, {} KiB, {} MiB\n", c.processor, isa_name(c.isa), c.caches.l1 >> 10,
             c.caches.l2 >> 10, c.caches.l3 >> 20);
  bench::Table table;
  table.headings = {"ceiling", "unit", "one thread", "range", counted(c.threads, "thread"), "range"};
  table.left = 2;
  for (std::size_t i = 0; i < kCeilings; ++i) {
    const auto ceiling = static_cast<Ceiling>(i);
    table.rows.push_back({std::string(ceiling_name(ceiling)), std::string(ceiling_unit(ceiling)),
                          short_number(c.one[i].median / 1e9), range(c.one[i], 1e9),
                          short_number(c.all[i].median / 1e9), range(c.all[i], 1e9)});
  }
  fmt::print("{}", table.text());
  if (c.load.busy())
    fmt::print("The machine was busy when these were measured ({}); --fresh measures again.\n", busy_note(c.load));
}

struct Report {
  bench::Table table;
  Json json = Json::array();
  bool busy = false;
};

void add_row(Report& report, const Rates& rates, const bench::LayerShape& layer, const nn::Product& product,
             const nn::Choice& choice, const bench::MeasuredProduct* measured) {
  const Estimate& e = choice.estimate;
  const nn::Kernel& quickest = *nn::choose_kernel(rates, product).kernel;
  const double operations = 2.0 * static_cast<double>(product.rows * product.n) * static_cast<double>(product.k);
  Json json = {{"layer", layer.name},
               {"n", product.n},
               {"k", product.k},
               {"count", layer.count},
               {"format", product.format.name()},
               {"rows", product.rows},
               {"threads", rates.threads},
               {"kernel", choice.kernel->name},
               {"bound", ceiling_name(e.bound())},
               {"attainable_seconds", e.seconds()},
               {"quickest_for_these_rows", quickest.name}};
  std::vector<std::string> row = {std::string(layer.name),
                                  fmt::format("{}x{}", product.n, product.k),
                                  product.format.name(),
                                  std::string(choice.kernel->name),
                                  std::string(ceiling_name(e.bound())),
                                  std::to_string(product.rows),
                                  std::to_string(rates.threads),
                                  short_number(1e6 * e.seconds()),
                                  short_number(operations / e.seconds() / 1e9)};
  if (measured) {
    const bench::Beside& b = measured->beside;
    json["attained_seconds"] = bench::json_of(b.seconds);
    json["share"] = bench::json_of(b.share);
    json["ceiling"] = bench::json_of(b.ceiling);
    json["busy"] = b.busy();
    json["load"] = {{"steal", b.load.steal}, {"others", b.load.others}, {"average", b.load.average}};
    row.push_back(short_number(1e6 * b.seconds.median));
    row.push_back(fmt::format("{:.0f} %{}", 100 * b.share.median, b.busy() ? " busy" : ""));
    row.push_back(fmt::format("{:.0f}..{:.0f}", 100 * b.share.lowest, 100 * b.share.highest));
    report.busy = report.busy || b.busy();
  }
  report.json.push_back(std::move(json));
  report.table.rows.push_back(std::move(row));
}

Report layer_report(const RooflineFlags& f, const Target& target, const std::vector<std::int64_t>& rows,
                    const Ceilings& ceilings, Executor& all) {
  SerialExecutor alone;
  std::vector<Executor*> executors{&alone};
  if (all.threads() > 1) executors.push_back(&all);
  Report report;
  report.table.headings = {"layer", "shape", "format", "kernel", "bound", "rows", "threads", "attainable us", "GOP/s"};
  report.table.left = 5;
  if (!f.model_only)
    for (const char* heading : {"attained us", "share", "range"}) report.table.headings.emplace_back(heading);

  std::vector<std::vector<bench::LayerShape>> layers;  // of each scheme
  std::size_t cases = 0;
  const auto most_rows = static_cast<std::size_t>(*std::max_element(rows.begin(), rows.end()));
  double largest = 0;
  for (const Scheme& scheme : target.schemes) {
    layers.push_back(bench::layer_shapes(target.config, scheme));
    cases += layers.back().size();
    for (const auto& layer : layers.back())
      largest = std::max(largest, static_cast<double>(layer.n * layer.k) * 9 +
                                      4.0 * static_cast<double>(most_rows * (layer.n + layer.k)));
  }
  bench::require_memory(largest + 8 * static_cast<double>(ceilings.caches.l3) + 512e6,
                        "measuring the layers of " + target.name);

  Progress progress("roofline", "case",
                    static_cast<double>(cases * rows.size() * executors.size()));
  double done = 0;
  for (Executor* executor : executors) {
    CeilingMeter meter(*executor);
    const Rates rates = rates_of(ceilings, executor->threads());
    nn::set_kernel_rates(rates);
    for (std::size_t i = 0; i < target.schemes.size(); ++i) {
      nn::force_kernel(f.kernel, target.schemes[i].format, target.schemes[i].scale_group != 0);
      for (const std::int64_t row_count : rows)
        for (const bench::LayerShape& layer : layers[i]) {
          nn::Product product{static_cast<std::size_t>(row_count), layer.n, layer.k, layer.coding.format, 0,
                              layer.coding.weight.slices(static_cast<std::int64_t>(layer.k)) > 1};
          product.weights_in_turn =
              static_cast<double>(target.config.block_parameters() + target.config.vocab * target.config.width);
          if (f.model_only) {
            add_row(report, rates, layer, product, nn::choice_for_weights(rates, product), nullptr);
          } else {
            const auto measured = bench::measure_product(*executor, meter, rates, product, layer.coding, f.rounds, 1);
            add_row(report, rates, layer, product, measured.choice, &measured);
          }
          progress.update(++done);
        }
    }
  }
  progress.finish();
  return report;
}

void roofline(RooflineFlags& f) {
  const bool layers = !f.shape.model.empty() || !f.shape.shape.empty();
  const std::vector<std::int64_t> rows = numbers_of("--rows", f.rows, 1, 1 << 20);
  Target target;
  if (layers) {
    if (f.shape.model.empty() && f.shape.formats.empty()) f.shape.formats = kFormats;
    target = resolve_target(f.shape, 2048);
  } else if (!f.shape.formats.empty() || !f.shape.head.empty()) {
    fail_usage("--format and --head need a --shape to apply to");
  }
  ThreadPool pool(apply_common(f.common));
  for (const Scheme& scheme : target.schemes)
    nn::force_kernel(f.kernel, scheme.format, scheme.scale_group != 0);  // refused before any work
  const Ceilings ceilings = bench::kept_or_measured_ceilings(pool, 9, f.fresh, say_line);
  if (!f.common.json) {
    print_ceilings(ceilings);
    std::fflush(stdout);  // the layers take a while
  }
  Json json;
  json["ceilings"] = bench::json_of(ceilings);
  if (layers) {
    if (!f.common.json)
      fmt::print("\n{}: each kind of layer, as predicted by the machine model and as measured\n", target.name);
    Report report = layer_report(f, target, rows, ceilings, pool);
    json["shape"] = target.name;
    json["layers"] = std::move(report.json);
    if (!f.common.json) {
      fmt::print("{}", report.table.text());
      if (report.busy) fmt::print("The machine was busy: shares marked busy are lower bounds, not results.\n");
    }
  }
  if (f.common.json) fmt::print("{}", files::dump_pretty(json));
}

}  // namespace

void add_roofline(CLI::App& verb) {
  auto f = std::make_shared<RooflineFlags>();
  declare_shape(verb, f->shape, kFormats);
  add_option(verb, "--rows", f->rows, "rows of activations, a list with ranges: 1 for decoding, more for a prompt")
      ->type_name("LIST:1 to 1048576");
  add_option(verb, "--rounds", f->rounds, {1, 1000}, "measurements of each layer, interleaved with its ceiling");
  add_option(verb, "--kernel", f->kernel, "use this kernel for the blocks: codes, packed, planes, ...")
      ->type_name("NAME")
      ->default_str("the fastest by the machine model");
  add_flag(verb, "--fresh", f->fresh, "measure the ceilings again instead of using those cached for this machine");
  add_flag(verb, "--predict", f->model_only, "print what the machine model predicts, and measure no layer");
  add_common(verb, f->common);
  verb.callback([f] { roofline(*f); });
}

}  // namespace lowbit::cli
