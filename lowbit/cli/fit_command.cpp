#include <cmath>
#include <memory>

#include "lowbit/base/error.h"
#include "lowbit/base/file_write.h"
#include "lowbit/base/progress.h"
#include "lowbit/base/words.h"
#include "lowbit/cli/command.h"
#include "lowbit/cli/law_flags.h"
#include "lowbit/files/json.h"
#include "lowbit/laws/bits.h"
#include "lowbit/laws/budget.h"
#include "lowbit/laws/fit.h"
#include "lowbit/study/runs.h"

namespace lowbit::cli {
namespace {

namespace fs = std::filesystem;
using files::Json;

struct FitFlags {
  std::vector<fs::path> in;
  std::string law = "efficiency", base;
  double fit_below = 0, memory = 0, flops = 0;  ///< parameters, bytes, operations; 0: not given
  std::vector<std::string> hold, label, predict;
  double fix_e = -1, huber = 1e-3, level = 0.9;
  int bootstrap = 200;
  std::uint64_t seed = 0;
  bool json = false;
};

laws::FitOptions options_of(const FitFlags& f) {
  laws::FitOptions o;
  o.law = laws::parse_law(f.law);
  o.base = f.base;
  o.huber = f.huber;
  o.bootstrap = f.bootstrap;
  o.seed = f.seed;
  o.level = f.level;
  o.hold = parse_holds(f.hold);
  if (f.fix_e >= 0) {
    if (o.hold.contains("E")) fail_usage("give either --fix-E or --hold E=, not both");
    o.hold["E"] = f.fix_e;
  }
  if (f.fit_below > 0) o.fit_below = f.fit_below;
  for (const std::string& text : f.predict) {
    const std::size_t first = text.find(','), second = first == std::string::npos ? first : text.find(',', first + 1);
    if (second == std::string::npos || second + 1 == text.size())
      fail_usage("--predict '{}': write N,D,FORMAT, as 800M,80B,w4a4", text);
    o.questions.push_back({parse_count_flag("--predict", text.substr(0, first), "parameters"),
                           parse_count_flag("--predict", text.substr(first + 1, second - first - 1), "tokens"),
                           text.substr(second + 1)});
  }
  return o;
}

Json number(double value) { return std::isfinite(value) ? Json(value) : Json(); }
Json interval(const laws::Between& between) {
  return std::isfinite(between.low) ? Json::array({between.low, between.high}) : Json();
}

Json json_of(const laws::Fit& fit, const FitFlags& f) {
  Json json;
  json["law"] = laws::name_of(fit.options.law);
  for (const laws::Found& c : fit.constants) json[c.name] = number(c.value);
  const bool additive = fit.options.law == laws::Law::additive;
  Json eff = Json::object(), k = Json::object(), per_bit = Json::object(), intervals = Json::object(),
       of_format = Json::object();
  for (const laws::Found& c : fit.constants) intervals[c.name] = interval(c.interval);
  for (std::size_t i = 0; i < fit.points.formats.size(); ++i) {
    const std::string& name = fit.points.formats[i];
    eff[name] = number(fit.eff(i, fit.middle_n));
    if (additive) k[name] = number(fit.c.of_format[i]);
    const auto bits = laws::bits_of(name);
    per_bit[name] = bits ? number(16 * fit.eff(i, fit.middle_n) / bits->weight) : Json();
    of_format[name] = interval(fit.of_format[i].interval);
  }
  json["eff"] = eff;
  if (additive) {
    json["eff_at"] = fit.middle_n;
    json["k"] = k;
  }
  json["eff_per_bit_of_16"] = per_bit;
  json["rms"] = fit.rms;
  json["log_rms"] = fit.log_rms;
  intervals[additive ? "k" : "eff"] = of_format;
  json["intervals"] = intervals;
  json["level"] = fit.options.level;
  json["base"] = fit.base ? Json(fit.points.formats[*fit.base]) : Json();
  Json identified = Json::object();
  for (const laws::Found& c : fit.constants) identified[c.name] = c.told;
  for (const laws::Found& c : fit.of_format) identified[c.name] = c.told;
  json["identified"] = identified;
  Json held = Json::object();
  for (const auto& [name, value] : fit.options.hold) held[name] = value;
  json["held"] = held;
  json["notes"] = fit.notes;
  json["held_out_rms"] = fit.held_out_rms ? Json(*fit.held_out_rms) : Json();
  Json runs = Json::array();
  for (std::size_t i = 0; i < fit.points.points.size(); ++i) {
    const laws::Point& p = fit.points.points[i];
    runs.push_back({{"N", p.n},
                    {"D", p.d},
                    {"format", fit.points.formats[p.format]},
                    {"loss", p.loss},
                    {"law", number(fit.foretold[i])},
                    {"fitted", static_cast<bool>(fit.fitted[i])},
                    {"where", p.where}});
  }
  json["runs"] = runs;
  Json answers = Json::array();
  for (const laws::Answer& a : fit.answers)
    answers.push_back({{"N", a.question.n},
                       {"D", a.question.d},
                       {"format", a.question.format},
                       {"loss", a.loss},
                       {"interval", interval(a.interval)}});
  if (!answers.empty()) json["predictions"] = answers;
  if (f.memory > 0) {
    const double memory = f.memory;
    Json cross = Json::array();
    for (const laws::Crossing& c : laws::crossings(fit, memory))
      cross.push_back({{"from", fit.points.formats[c.from]},
                       {"to", fit.points.formats[c.to]},
                       {"tokens_per_parameter_of_16", c.ratio},
                       {"flops", c.flops}});
    Json budget{{"memory", memory}, {"crossings", cross}};
    if (f.flops > 0) {
      const double flops = f.flops;
      budget["flops"] = flops;
      budget["choices"] = Json::array();
      for (const laws::Choice& c : laws::choices(fit, memory, flops))
        budget["choices"].push_back(
            {{"format", fit.points.formats[c.format]}, {"bits", c.bits}, {"N", c.n}, {"D", c.d}, {"loss", c.loss}});
    }
    json["budget"] = budget;
  }
  return json;
}

std::string between_text(const laws::Between& b) {
  return std::isfinite(b.low) ? fmt::format("[{:.4g}, {:.4g}]", b.low, b.high) : "";
}

void print_runs(const laws::Fit& fit) {
  fmt::print("\n{:<16} {:>10} {:>10} {:>8} {:>8} {:>8}\n", "held out", "N", "D", "loss", "law", "error");
  for (std::size_t i = 0; i < fit.points.points.size(); ++i) {
    const laws::Point& p = fit.points.points[i];
    if (fit.fitted[i]) continue;
    const std::string& name = fit.points.formats[p.format];
    if (std::isfinite(fit.foretold[i]))
      fmt::print("{:<16} {:>10} {:>10} {:8.4f} {:8.4f} {:+8.4f}\n", name, human_count(p.n), human_count(p.d), p.loss,
                 fit.foretold[i], fit.foretold[i] - p.loss);
    else
      fmt::print("{:<16} {:>10} {:>10} {:8.4f}   its format is not among the fitted runs\n", name, human_count(p.n),
                 human_count(p.d), p.loss);
  }
  if (fit.held_out_rms)
    fmt::print("RMS error over {} held out: {:.4f} nats\n", counted(fit.held_out, "run"), *fit.held_out_rms);
}

void print_budget(const laws::Fit& fit, const FitFlags& f) {
  const double memory = f.memory;
  const auto name = [&](std::size_t format) -> const std::string& { return fit.points.formats[format]; };
  if (f.flops > 0) {
    const double flops = f.flops;
    fmt::print("\nmodels of {} trained with {:.3g} operations (6 N D), best first\n", human_bytes(memory), flops);
    fmt::print("{:<16} {:>6} {:>10} {:>10} {:>8}\n", "format", "bits", "N", "D", "loss");
    for (const laws::Choice& c : laws::choices(fit, memory, flops))
      fmt::print("{:<16} {:>6.3g} {:>10} {:>10} {:8.4f}\n", name(c.format), c.bits, human_count(c.n), human_count(c.d),
                 c.loss);
  }
  std::size_t first = 0;
  const auto crossings = laws::crossings(fit, memory, &first);
  fmt::print("\nbest format for {} as compute grows; D/N is that of the 16-bit model of these bytes and this compute\n",
             human_bytes(memory));
  fmt::print("from the start   {}\n", name(first));
  for (const laws::Crossing& c : crossings)
    fmt::print("from D/N {:<7.3g} {} ({:.3g} operations)\n", c.ratio, name(c.to), c.flops);
}

void print(const laws::Fit& fit, const FitFlags& f) {
  const bool additive = fit.options.law == laws::Law::additive;
  std::size_t used = 0;
  for (const bool fitted : fit.fitted) used += fitted;
  fmt::print("law {}, fitted to {} in {}{}\n", laws::name_of(fit.options.law), counted(used, "run"),
             counted(fit.points.formats.size(), "format"),
             fit.base ? ", base " + fit.points.formats[*fit.base] : "");
  const std::string level = fmt::format("{:g} % confidence interval", 100 * fit.options.level);
  fmt::print("\n{:<10} {:>12}  {:<24}\n", "constant", "value", level);
  for (const laws::Found& c : fit.constants)
    fmt::print("{:<10} {:>12.6g}  {:<24}{}\n", c.name, c.value, between_text(c.interval),
               c.held   ? "held"
               : c.told ? ""
                        : "not identifiable from these runs");
  fmt::print("\n{:<24} {:>9} {:>12}  {:<24}\n", "format", additive ? "k" : "eff",
             additive ? "eff at " + human_count(fit.middle_n) : "eff/bits*16", level);
  for (std::size_t i = 0; i < fit.points.formats.size(); ++i) {
    const auto bits = laws::bits_of(fit.points.formats[i]);
    const double second = additive ? fit.eff(i, fit.middle_n) : bits ? 16 * fit.c.of_format[i] / bits->weight : NAN;
    fmt::print("{:<24} {:>9.4g} {:>12}  {:<24}{}\n", fit.points.formats[i], fit.c.of_format[i],
               std::isfinite(second) ? fmt::format("{:.3g}", second) : "", between_text(fit.of_format[i].interval),
               fit.of_format[i].held && fit.base != i ? "held" : "");
  }
  fmt::print("\nRMS error {:.4f} nats, {:.5f} of the log-loss\n", fit.rms, fit.log_rms);
  if (const auto best = laws::best_per_bit(fit, fit.middle_n))
    fmt::print("most effective parameters per bit: {}; the best format where memory is the limit and tokens are not\n",
               fit.points.formats[*best]);
  if (used < fit.points.points.size()) print_runs(fit);
  for (const laws::Answer& a : fit.answers)
    fmt::print("\npredicted: {} parameters, {} tokens, {}: {:.4f} nats per token {}", human_count(a.question.n),
               human_count(a.question.d), a.question.format, a.loss, between_text(a.interval));
  if (!fit.answers.empty()) fmt::print("\n");
  if (f.memory > 0) print_budget(fit, f);
  if (!fit.notes.empty()) fmt::print("\n");
  for (const std::string& note : fit.notes) fmt::print("note: {}\n", note);
}

}  // namespace

void add_fit(CLI::App& verb) {
  auto f = std::make_shared<FitFlags>();
  add_option(verb, "--in", f->in, "CSV files with the columns N,D,format,loss, run folders, or folders of run folders")
      ->required();
  add_choice(verb, "--law", f->law, {"efficiency", "additive", "bits"},
             "form of the loss L(N, D). efficiency: A/(N eff)^alpha + B/D^beta + E, with one eff per format; additive: "
             "A/N^alpha + B/D^beta + E + k N^-g; bits: efficiency, with eff a function of the bits alone");
  add_option(verb, "--base", f->base, "format with an efficiency of 1")
      ->type_name("FORMAT")
      ->default_str("bf16, else another 16- or 32-bit format of the runs");
  add_option(verb, "--hold", f->hold,
             "fix a constant instead of fitting it: A, alpha, B, beta, E, g, eff.FORMAT or k.FORMAT")
      ->type_name("NAME=VALUE");
  add_option(verb, "--fix-E", f->fix_e, {0, 1000}, "the same as --hold E=X: the irreducible loss, in nats per token");
  add_quantity(verb, "--fit-below", f->fit_below,
               "fit only runs with fewer parameters than this, and predict the others")
      ->default_str("fit all runs");
  add_option(verb, "--predict", f->predict, "predict the loss of a run with N parameters and D tokens: 800M,80B,w4a4")
      ->type_name("N,D,FORMAT");
  add_quantity(verb, "--memory", f->memory, "bytes of weights: find the best format for them as compute grows");
  add_quantity(verb, "--flops", f->flops,
               "with --memory: operations of training, 6 N D; lists every format's best model");
  add_option(verb, "--label", f->label,
             "flags of train whose values distinguish runs of one format, such as lr or recipe")
      ->type_name("FLAG");
  add_option(verb, "--bootstrap", f->bootstrap, {0, 100'000},
             "bootstrap resamples of the runs, for intervals; 0: no intervals");
  add_option(verb, "--level", f->level, {0, 1, true, true}, "confidence level of the intervals");
  add_seed(verb, f->seed, "seed of the bootstrap");
  add_option(verb, "--huber", f->huber, {0, 1e9, true},
             "threshold of the Huber loss: residuals of the log-loss beyond it count linearly; a large one gives least "
             "squares");
  add_flag(verb, "--json", f->json, "print results as JSON");
  verb.callback([f] {
    if (f->flops > 0 && !(f->memory > 0))
      fail_usage("--flops needs --memory, which fixes the size of each format's model");
    const laws::FitOptions options = options_of(*f);
    const laws::Fit fit = laws::fit(study::points_of(f->in, f->label), options);
    if (f->json)
      fmt::print("{}\n", files::dump_line(json_of(fit, *f)));
    else
      print(fit, *f);
  });
}

}  // namespace lowbit::cli
