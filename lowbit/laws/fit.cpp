#include "lowbit/laws/fit.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "lowbit/base/error.h"
#include "lowbit/base/math.h"
#include "lowbit/laws/bits.h"
#include "lowbit/laws/form.h"
#include "lowbit/laws/judge.h"

namespace lowbit::laws {
namespace {

std::string names_of(const std::vector<std::string>& formats) { return fmt::format("{}", fmt::join(formats, ", ")); }

std::optional<std::size_t> base_of(const Points& points, const FitOptions& options) {
  if (!options.base.empty()) {
    const auto found = points.find(options.base);
    if (!found) fail_usage("--base {} is no format of the runs; they have {}", options.base, names_of(points.formats));
    return found;
  }
  if (const auto bf16 = points.find("bf16")) return bf16;
  for (std::size_t f = 0; f < points.formats.size(); ++f)
    if (is_full_precision(points.formats[f])) return f;
  return std::nullopt;
}

/// Holds with their formats spelt as the runs spell them, all checked.
std::map<std::string, double> checked_holds(const Points& points, const FitOptions& options) {
  std::map<std::string, double> holds;
  const bool additive = options.law == Law::additive, bits = options.law == Law::bits;
  for (const auto& [name, value] : options.hold) {
    if (!std::isfinite(value)) fail_usage("--hold {}: wanted a number", name);
    if (const std::size_t dot = name.find('.'); dot != std::string::npos) {
      const std::string kind = name.substr(0, dot), format = name.substr(dot + 1);
      if (bits || kind != (additive ? "k" : "eff"))
        fail_usage("--hold {}: the law {} has no '{}' by format", name, name_of(options.law), kind);
      const auto found = points.find(format);
      if (!found) fail_usage("--hold {}: no run has format {}; they have {}", name, format, names_of(points.formats));
      if (!additive && !(value > 0)) fail_usage("--hold {}={}: an eff is positive", name, value);
      holds[kind + "." + points.formats[*found]] = value;
      continue;
    }
    const bool known = name == "A" || name == "alpha" || name == "B" || name == "beta" || name == "E" ||
                       (additive && name == "g") || (bits && (name == "gamma_w" || name == "gamma_a"));
    if (!known)
      fail_usage("--hold {}: the law {} has A, alpha, B, beta, E{}", name, name_of(options.law),
                 additive ? ", g, k.FORMAT"
                 : bits   ? ", gamma_w, gamma_a"
                          : ", eff.FORMAT");
    const bool may_be_zero = name == "B" || name == "E" || name == "beta" || name == "g";
    if (value < 0 || (value == 0 && !may_be_zero)) fail_usage("--hold {}={}: it must be positive", name, value);
    holds[name] = value;
  }
  return holds;
}

std::vector<double> starts(bool is_held, double held, std::initializer_list<double> grid) {
  return is_held ? std::vector<double>{held} : std::vector<double>(grid);
}

/// Every start to a rough end, the best of them to the end. returns solutions, best first.
std::vector<Least> search(const Form& form, double huber) {
  const auto& hold = form.setup().hold;
  const auto grid = [&](const char* name, std::initializer_list<double> values) {
    const auto found = hold.find(name);
    return starts(found != hold.end(), found == hold.end() ? 0 : found->second, values);
  };
  double least_loss = INFINITY;
  for (const Point& p : form.setup().points) least_loss = std::min(least_loss, p.loss);
  const Law law = form.setup().law;
  const bool no_data = form.setup().without_data_term;
  std::vector<Least> found;
  for (const double alpha : grid("alpha", {0.06, 0.15, 0.3, 0.5, 0.9}))
    for (const double beta : no_data ? std::vector<double>{0} : grid("beta", {0.06, 0.15, 0.3, 0.5, 0.9}))
      for (const double floor :
           hold.contains("E") ? std::vector<double>{hold.at("E") / least_loss} : std::vector<double>{0, 0.3, 0.6, 0.9})
        for (const double shared : law == Law::efficiency ? std::vector<double>{0}
                                   : law == Law::additive ? grid("g", {0.05, 0.3})
                                                          : std::vector<double>{0.2, 1.2})
          found.push_back(form.solve(form.start(alpha, beta, floor * least_loss, shared), {huber, 25}));
  const auto better = [](const Least& a, const Least& b) { return a.cost < b.cost; };
  std::stable_sort(found.begin(), found.end(), better);
  if (!std::isfinite(found.front().cost))
    fail_input("no start of the fit gives a positive loss at every run; check the held constants");
  found.resize(std::min<std::size_t>(found.size(), 10));
  for (Least& one : found) one = form.solve(one.x, {huber, 2000});
  std::stable_sort(found.begin(), found.end(), better);
  return found;
}

void require_runs(const Form& form, const FitOptions& options, bool have_base) {
  const auto& points = form.setup().points;
  const bool size_sought = !options.hold.contains("A") || !options.hold.contains("alpha");
  if (points.empty())
    fail_input("no run has fewer than {:g} parameters, so there is nothing to fit; raise --fit-below",
               options.fit_below.value_or(0));
  if (!have_base && size_sought && options.law != Law::bits)
    fail_input(
        "no run has format bf16 or f32, to which the others are compared; add such runs, or name another with --base "
        "(the runs have {}), or hold A and alpha",
        names_of(form.setup().formats));
  std::set<double> sizes;
  for (const Point& p : points) sizes.insert(p.n);
  if (sizes.size() == 1 && !options.hold.contains("alpha"))
    fail_input(
        "all {} runs that are fitted have N = {:g}; a law over sizes needs runs of two sizes at least, of three to "
        "tell E, "
        "or --hold alpha=VALUE",
        points.size(), *sizes.begin());
  const auto names = form.free_names();
  if (points.size() < names.size())
    fail_input("{} runs cannot tell {} constants ({}); add {} runs or more, or hold some with --hold NAME=VALUE",
               points.size(), names.size(), fmt::join(names, ", "), names.size() - points.size());
}

void measure(Fit& fit) {
  double squares = 0, log_squares = 0, held_squares = 0;
  std::size_t n = 0;
  for (std::size_t i = 0; i < fit.points.points.size(); ++i) {
    const Point& p = fit.points.points[i];
    fit.foretold.push_back(fit.loss(p.n, p.d, p.format));
    const double error = fit.foretold.back() - p.loss;
    if (fit.fitted[i]) {
      squares += error * error;
      const double r = math::log(fit.foretold.back() / p.loss);
      log_squares += r * r;
      ++n;
    } else if (std::isfinite(error)) {
      held_squares += error * error;
      ++fit.held_out;
    }
  }
  fit.rms = std::sqrt(squares / static_cast<double>(n));
  fit.log_rms = std::sqrt(log_squares / static_cast<double>(n));
  if (fit.held_out > 0) fit.held_out_rms = std::sqrt(held_squares / static_cast<double>(fit.held_out));
}

}  // namespace

double Fit::loss(double n, double d, std::size_t format) const {
  return loss_at(options.law, c, n, d, c.of_format[format]);
}

double Fit::eff(std::size_t format, double n) const {
  const double value = c.of_format[format];
  if (options.law != Law::additive) return value;
  // A / (n eff)^alpha = A / n^alpha + k n^-g
  return math::pow(1 + value * math::pow(n, c.alpha - c.g) / c.A, -1 / c.alpha);
}

Fit fit(Points points, FitOptions options) {
  Fit result;
  options.hold = checked_holds(points, options);
  result.base = base_of(points, options);
  if (!(options.huber > 0)) fail_usage("--huber must be positive, not {}", options.huber);
  if (!(options.level > 0 && options.level < 1)) fail_usage("--level must lie between 0 and 1, not {}", options.level);

  Form::Setup setup;
  setup.law = options.law;
  setup.formats = points.formats;
  setup.hold = options.hold;
  std::set<double> tokens;
  double log_sum = 0;
  for (const Point& p : points.points) {
    const bool take = !options.fit_below || p.n < *options.fit_below;
    result.fitted.push_back(take);
    if (!take) continue;
    setup.points.push_back(p);
    tokens.insert(p.d);
    log_sum += math::log(p.n);
  }
  bool base_runs = false;
  for (const Point& p : setup.points) base_runs |= p.format == result.base;
  if (result.base && (base_runs || !options.base.empty())) setup.base = result.base;
  if (options.law == Law::bits)
    for (const std::string& format : points.formats)
      if (!bits_of(format))
        fail_input(
            "the law bits reads bits from names such as w4a4, and cannot from '{}'; leave its runs out, or take --law "
            "efficiency",
            format);
  // One number of tokens: the data term is a constant, as E is.
  setup.without_data_term = tokens.size() == 1 && !options.hold.contains("B") && !options.hold.contains("E");
  if (setup.points.empty()) setup.points = {};
  const std::size_t count = setup.points.size();
  if (count == 0)
    fail_input("no run has fewer than {:g} parameters, so there is nothing to fit; raise --fit-below",
               options.fit_below.value_or(0));
  result.middle_n = math::exp(log_sum / static_cast<double>(count));
  Form form(std::move(setup));
  require_runs(form, options, base_runs);

  result.options = options;
  result.points = std::move(points);
  result.notes = result.points.notes;
  const std::vector<Least> found = search(form, options.huber);
  result.c = form.constants(found.front().x);
  measure(result);
  judge(result, form, found);
  return result;
}

}  // namespace lowbit::laws
