#include "lowbit/laws/judge.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "lowbit/base/error.h"
#include "lowbit/base/interrupt.h"
#include "lowbit/base/math.h"
#include "lowbit/base/rng.h"
#include "lowbit/laws/bits.h"
#include "lowbit/laws/unseen.h"

namespace lowbit::laws {
namespace {

/// Chi-squared of one degree, 90 %: how much worse a fit must get before a value counts as ruled out.
constexpr double kRuledOut = 2.71;
/// Scatter of ln D about a line over ln N below which D says nothing that N does not (a factor of 1.05).
constexpr double kSameRatio = 0.05;

class Judge {
 public:
  Judge(Fit& fit, Form& form, const std::vector<Least>& found) : fit_(fit), form_(form), found_(found) {
    const std::size_t free = form.free().size(), runs = form.setup().points.size();
    spare_ = static_cast<double>(runs) - static_cast<double>(free);
    // Residuals of rounding alone, as made-up runs have them, are no scatter to judge by.
    scatter_ = std::max(found.front().cost, 0.5e-18 * static_cast<double>(runs)) / spare_;
  }

  void run() {
    look_at_design();
    constant("A", fit_.c.A, Form::kSize);
    constant("alpha", fit_.c.alpha, Form::kAlpha);
    constant("B", fit_.c.B, Form::kData);
    constant("beta", fit_.c.beta, Form::kBeta);
    constant("E", fit_.c.E, Form::kFloor);
    if (fit_.options.law == Law::additive) constant("g", fit_.c.g, Form::kShared);
    if (fit_.options.law == Law::bits) {
      constant("gamma_w", fit_.c.gamma_w, Form::kShared);
      constant("gamma_a", fit_.c.gamma_a, Form::kShared2);
    }
    share_reasons();
    formats();
    for (const Found& f : fit_.constants)
      if (!f.told) fit_.notes.push_back(fmt::format("{} is not identifiable from these runs: {}.", f.name, f.why));
    for (const Found& f : fit_.constants)
      if (f.name == "beta" && !f.told && !form_.setup().without_data_term && fit_.options.law != Law::additive)
        fit_.notes.emplace_back(
            "Every eff hangs on beta, as both divide the loss between size and tokens: compare formats under constants "
            "from "
            "other runs, held with --hold.");
    for (const Found& f : fit_.of_format)
      if (!f.told) fit_.notes.push_back(fmt::format("{} is not identifiable from these runs: {}.", f.name, f.why));
  }

 private:
  const std::vector<Point>& points() const { return form_.setup().points; }
  bool free(std::size_t place) const {
    return std::find(form_.free().begin(), form_.free().end(), place) != form_.free().end();
  }

  /// What no fit could tell, from where the runs lie.
  void look_at_design() {
    double x = 0, y = 0, xx = 0, xy = 0, yy = 0, least = INFINITY, most = 0;
    std::set<double> sizes, tokens;
    for (const Point& p : points()) {
      const double n = math::log(p.n), d = math::log(p.d);
      x += n, y += d, xx += n * n, xy += n * d, yy += d * d;
      least = std::min(least, p.d / p.n), most = std::max(most, p.d / p.n);
      sizes.insert(p.n), tokens.insert(p.d);
      if (fit_.options.law == Law::bits) {
        const Bits bits = *bits_of(form_.setup().formats[p.format]);
        equal_bits_ &= bits.weight == bits.activation;
      }
    }
    const double k = static_cast<double>(points().size());
    const double vx = xx / k - x / k * (x / k), vy = yy / k - y / k * (y / k), cov = xy / k - x / k * (y / k);
    const double rest = vx > 1e-12 ? vy - cov * cov / vx : vy;
    sizes_ = sizes.size();
    if (tokens.size() == 1)
      beta_why_ = fmt::format("all runs have D = {:g}", *tokens.begin()) +
                  (form_.setup().without_data_term ? ", so the data term is left out and is part of E" : "");
    else if (std::sqrt(std::max(rest, 0.0)) < kSameRatio)
      beta_why_ = most / least < 1.3
                      ? fmt::format("D/N is constant ({:.4g} to {:.4g}), so more tokens and more parameters look alike",
                                    least, most)
                      : "D is a fixed power of N, so more tokens and more parameters look alike";
  }

  /// Whether the runs rule out that a parameter has another value, with all others fitted anew.
  bool ruled_out(std::size_t place, double value) const {
    const Range range = form_.bounds(place);
    value = std::clamp(value, range.low, range.high);
    double cost = INFINITY;
    for (std::size_t i = 0; i < std::min<std::size_t>(found_.size(), 3); ++i) {
      std::vector<double> x = found_[i].x;
      x[place] = value;
      cost = std::min(cost, form_.solve(std::move(x), {fit_.options.huber, 300}, std::array{place}).cost);
    }
    return cost - found_.front().cost > kRuledOut * scatter_;
  }

  void constant(const std::string& name, double value, std::size_t place) {
    Found f{name, value, !free(place), true, "", {}};
    if (f.held && form_.setup().without_data_term && (place == Form::kBeta || place == Form::kData))
      f.held = false, f.told = false;
    if (f.held) return fit_.constants.push_back(f);
    const double x = found_.front().x[place];
    const Range range = form_.bounds(place);
    if (place == Form::kSize || place == Form::kData) {
      // Judged with their exponents; here only whether there is such a term at all.
      if (x <= range.low + 1e-6) f.why = "its term is driven to nothing";
    } else if (place == Form::kFloor) {
      if (x <= 1e-3 * range.high)
        f.why = "it is driven to its bound 0, so the law holds between these runs and not far beyond them";
      else if (x >= 0.999 * range.high)
        f.why = "it is driven to its bound, just below the least loss";
      else if (sizes_ < 3 && free(Form::kAlpha))
        f.why = "two sizes do not show where the loss levels off";
      else
        f.why = profile(place, x / 2, std::min(1.5 * x, 0.5 * (x + range.high)), "half of it fits as well",
                        "half as much again fits as well");
    } else if (x <= range.low * 1.001 || x >= range.high * 0.999) {
      f.why = fmt::format("it is driven to its bound {:g}", x);
    } else {
      const bool log = fit_.options.law == Law::bits && place >= Form::kShared;
      const double two = math::log(2);
      f.why = profile(place, log ? x - two : x / 2, log ? x + two : x * 2, "half of it fits as well",
                      "twice as much fits as well");
    }
    if ((place == Form::kBeta || place == Form::kData) && !beta_why_.empty()) f.why = beta_why_;
    if (fit_.options.law == Law::bits && place >= Form::kShared && equal_bits_)
      f.why = "every format has as many bits for activations as for weights";
    f.told = f.why.empty();
    fit_.constants.push_back(f);
  }

  std::string profile(std::size_t place, double low, double high, const char* low_text, const char* high_text) const {
    if (spare_ < 1) return "there are as many constants as runs, and nothing is left to judge them by";
    if (!ruled_out(place, low)) return low_text;
    if (!ruled_out(place, high)) return high_text;
    return "";
  }

  /// A is where the size term meets N = 1, far from all runs: it is as uncertain as alpha is. Likewise B and beta.
  void share_reasons() {
    const auto find = [&](const char* name) -> Found& {
      return *std::find_if(fit_.constants.begin(), fit_.constants.end(),
                           [&](const Found& f) { return f.name == name; });
    };
    const auto share = [&](Found& factor, Found& exponent) {
      if (!exponent.told && factor.told && !factor.held)
        factor.told = false, factor.why = fmt::format("it hangs on {}", exponent.name);
      if (!factor.told && exponent.told && !exponent.held)
        exponent.told = false, exponent.why = fmt::format("it hangs on {}", factor.name);
    };
    share(find("A"), find("alpha"));
    share(find("B"), find("beta"));
  }

  void formats() {
    const auto& names = form_.setup().formats;
    std::vector<std::set<double>> sizes(names.size());
    std::set<double> others;
    for (const Point& p : points()) {
      sizes[p.format].insert(p.n);
      if (p.format != form_.setup().base) others.insert(p.n);
    }
    const bool additive = fit_.options.law == Law::additive;
    std::vector<std::string> of_one_size;
    for (std::size_t f = 0; f < names.size(); ++f) {
      Found found{(additive ? "k." : "eff.") + names[f], fit_.c.of_format[f], !free(Form::kFormats + f), true, "", {}};
      if (fit_.options.law == Law::bits) found.held = false;  // it follows from the gammas
      if (sizes[f].empty() && fit_.options.law != Law::bits && f != fit_.base) {
        found.held = found.told = false;
        found.why = "no run of that format is fitted";
      } else if (!found.held && sizes[f].size() == 1 && fit_.options.law != Law::bits) {
        of_one_size.push_back(names[f]);
      }
      fit_.of_format.push_back(found);
    }
    if (!of_one_size.empty())
      fit_.notes.push_back(fmt::format(
          "The {} of {} rests on one size: that it is the same at others is the law's claim, not seen here.",
          additive ? "k" : "eff", fmt::join(of_one_size, ", ")));
    if (additive && others.size() == 1)
      for (Found& found : fit_.constants)
        if (found.name == "g" && !found.held)
          found.told = false, found.why = "formats other than the base have runs of one size only";
  }

  Fit& fit_;
  Form& form_;
  const std::vector<Least>& found_;
  double spare_ = 0, scatter_ = 0;
  std::size_t sizes_ = 0;
  bool equal_bits_ = true;
  std::string beta_why_;
};

Between between(std::vector<double> values, double level) {
  std::erase_if(values, [](double v) { return !std::isfinite(v); });
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  const auto at = [&](double share) {  // linear between the two nearest, as R and NumPy do by default
    const double place = share * static_cast<double>(values.size() - 1);
    const auto i = static_cast<std::size_t>(place);
    const double t = place - static_cast<double>(i);
    return i + 1 < values.size() ? values[i] * (1 - t) + values[i + 1] * t : values[i];
  };
  return {at((1 - level) / 2), at((1 + level) / 2)};
}

double constant_of(const Constants& c, const std::string& name) {
  return name == "A"         ? c.A
         : name == "alpha"   ? c.alpha
         : name == "B"       ? c.B
         : name == "beta"    ? c.beta
         : name == "E"       ? c.E
         : name == "g"       ? c.g
         : name == "gamma_w" ? c.gamma_w
                             : c.gamma_a;
}

bool was_fitted(const Fit& fit, const std::string& name) {
  const auto found = fit.points.find(name);
  return found && std::isfinite(fit.c.of_format[*found]);
}

/// The eff or k of a format that a question names, which need not have been run.
double format_of(const Fit& fit, const Constants& c, const std::string& name) {
  if (was_fitted(fit, name)) return c.of_format[*fit.points.find(name)];
  if (fit.options.law != Law::bits)
    return between_neighbours(fit.options.law, c, *neighbours_of(fit.options.law, fit.points, fit.c, name));
  const auto bits = bits_of(name);
  return eff_of_bits(c, bits->weight, bits->activation);
}

/// Residuals drawn anew and added to the law: every format keeps its runs, which drawing whole runs would not grant.
void resample(Fit& fit, Form& form, const std::vector<Least>& found) {
  const FitOptions& o = fit.options;
  const std::vector<double> law = form.logs(found.front().x);
  const std::size_t n = law.size();
  const double spare = static_cast<double>(n) - static_cast<double>(form.free().size());
  if (o.bootstrap < 1) return;
  if (spare < 1) {
    fit.notes.emplace_back("There are as many constants as runs, so intervals cannot be drawn.");
    return;
  }
  std::vector<double> errors;
  double mean = 0;
  for (std::size_t i = 0; i < n; ++i) mean += (form.log_losses()[i] - law[i]) / static_cast<double>(n);
  // A fit lies nearer to its runs than the truth does, by about this factor.
  const double widen = std::sqrt(static_cast<double>(n) / spare);
  for (std::size_t i = 0; i < n; ++i) errors.push_back((form.log_losses()[i] - law[i] - mean) * widen);

  std::vector<std::vector<double>> constants(fit.constants.size()), formats(fit.of_format.size()),
      answers(fit.answers.size());
  for (int b = 0; b < o.bootstrap; ++b) {
    check_interrupt("stopped while intervals were computed; nothing was written");
    const Rng rng(o.seed, RandomUse::bootstrap, static_cast<std::uint64_t>(b));
    std::vector<double> losses(law);
    for (std::size_t i = 0; i < n; ++i) losses[i] += errors[rng.below(i, n)];
    form.set_log_losses(std::move(losses));
    const Least again = form.solve(found.front().x, {o.huber, 300});
    const Constants c = form.constants(again.x);
    for (std::size_t i = 0; i < constants.size(); ++i) constants[i].push_back(constant_of(c, fit.constants[i].name));
    for (std::size_t f = 0; f < formats.size(); ++f) formats[f].push_back(c.of_format[f]);
    for (std::size_t q = 0; q < answers.size(); ++q) {
      const Question& question = fit.answers[q].question;
      const double error = errors[rng.below(n + q, n)];
      answers[q].push_back(loss_at(o.law, c, question.n, question.d, format_of(fit, c, question.format)) *
                           math::exp(error));
    }
  }
  for (std::size_t i = 0; i < constants.size(); ++i)
    if (!fit.constants[i].held) fit.constants[i].interval = between(constants[i], o.level);
  for (std::size_t f = 0; f < formats.size(); ++f)
    if (!fit.of_format[f].held) fit.of_format[f].interval = between(formats[f], o.level);
  for (std::size_t q = 0; q < answers.size(); ++q) fit.answers[q].interval = between(answers[q], o.level);
}

void ask(Fit& fit) {
  for (const Question& q : fit.options.questions) {
    const Law law = fit.options.law;
    if (!was_fitted(fit, q.format)) {
      const auto between = law == Law::bits ? std::nullopt : neighbours_of(law, fit.points, fit.c, q.format);
      if (!between && !(law == Law::bits && bits_of(q.format)))
        fail_usage(
            "--predict {:g},{:g},{}: no fitted run has that format, and it does not lie between two that have (equal "
            "bits "
            "on both sides, w3a3 between w2a2 and w4a4); --law bits predicts others",
            q.n, q.d, q.format);
      if (between)
        fit.notes.push_back(
            fmt::format("{} is in no fitted run: the logarithm of what a format costs is taken as straight between {} "
                        "and {}; intervals "
                        "hold no error of that.",
                        q.format, fit.points.formats[between->fewer], fit.points.formats[between->more]));
    }
    fit.answers.push_back({q, loss_at(law, fit.c, q.n, q.d, format_of(fit, fit.c, q.format)), {}});
  }
}

}  // namespace

void judge(Fit& result, Form form, const std::vector<Least>& found) {
  Judge(result, form, found).run();
  ask(result);
  resample(result, form, found);
}

}  // namespace lowbit::laws
