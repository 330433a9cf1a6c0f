#include "lowbit/laws/form.h"

#include <algorithm>
#include <cmath>

#include "lowbit/base/math.h"
#include "lowbit/laws/bits.h"

namespace lowbit::laws {
namespace {

constexpr double kNever = -1e6;  // exp of it is 0: the ln of a term that is not there

double mean_log(const std::vector<Point>& points, double Point::*value) {
  double sum = 0;
  for (const Point& p : points) sum += math::log(p.*value);
  return sum / static_cast<double>(points.size());
}

}  // namespace

Form::Form(Setup setup) : setup_(std::move(setup)) {
  const auto held = [&](const std::string& name) {
    const auto found = setup_.hold.find(name);
    return found == setup_.hold.end() ? std::optional<double>() : std::optional(found->second);
  };
  const std::size_t formats = setup_.formats.size();
  held_.resize(kFormats + formats);
  shift_.resize(formats);
  held_k_.resize(formats);
  if (const auto A = held("A"))
    held_[kSize] = math::log(*A);
  else
    middle_n_ = mean_log(setup_.points, &Point::n);
  held_[kAlpha] = held("alpha");
  held_[kBeta] = held("beta");
  if (setup_.without_data_term) {
    held_[kData] = kNever;
    if (!held_[kBeta]) held_[kBeta] = 0;
  } else if (const auto B = held("B")) {
    held_[kData] = *B > 0 ? math::log(*B) : kNever;
    if (*B <= 0 && !held_[kBeta]) held_[kBeta] = 0;
  } else {
    middle_d_ = mean_log(setup_.points, &Point::d);
  }
  held_[kFloor] = held("E");
  switch (setup_.law) {
    case Law::efficiency:
      held_[kShared] = held_[kShared2] = 0;
      break;
    case Law::additive:
      held_[kShared] = held("g");
      held_[kShared2] = 0;
      break;
    case Law::bits:
      if (const auto v = held("gamma_w")) held_[kShared] = math::log(*v);
      if (const auto v = held("gamma_a")) held_[kShared2] = math::log(*v);
      break;
  }
  std::vector<std::size_t> runs(formats);
  for (const Point& p : setup_.points) ++runs[p.format];
  bool differs = false;  // whether a format's k is sought or held at all, without which g has no meaning
  for (std::size_t f = 0; f < formats; ++f) {
    auto& place = held_[kFormats + f];
    if (setup_.law == Law::bits || f == setup_.base || runs[f] == 0) {
      place = 0;
    } else if (setup_.law == Law::efficiency) {
      if (const auto eff = held("eff." + setup_.formats[f])) place = 0, shift_[f] = math::log(*eff);
    } else {
      held_k_[f] = held("k." + setup_.formats[f]);
      if (held_k_[f]) place = 0;
      differs = true;
    }
  }
  if (setup_.law == Law::additive && !differs && !held_[kShared]) held_[kShared] = 0;

  double least = INFINITY, most = 0;
  log_losses_.reserve(setup_.points.size());
  for (const Point& p : setup_.points) {
    log_losses_.push_back(math::log(p.loss));
    least = std::min(least, p.loss);
    most = std::max(most, p.loss);
  }
  const double top = math::log(most) + 3;
  bounds_.assign(held_.size(), Range{-30, 60});
  bounds_[kSize] = bounds_[kData] = {-20, top};
  bounds_[kAlpha] = bounds_[kBeta] = {1e-3, 3};
  bounds_[kFloor] = {0, 0.98 * least};
  if (setup_.law == Law::additive) {
    bounds_[kShared] = {0, 3};
    for (std::size_t f = 0; f < formats; ++f) bounds_[kFormats + f] = {-most, 10 * most};
  } else if (setup_.law == Law::bits) {
    bounds_[kShared] = bounds_[kShared2] = {-3, 4};  // ln gamma: from .05 to 55 bits
  }
  for (std::size_t i = 0; i < held_.size(); ++i)
    if (!held_[i]) free_.push_back(i);
}

std::vector<std::string> Form::free_names() const {
  std::vector<std::string> names;
  for (const std::size_t i : free_) {
    if (i >= kFormats)
      names.push_back((setup_.law == Law::additive ? "k." : "eff.") + setup_.formats[i - kFormats]);
    else
      names.emplace_back(
          std::array{"A", "alpha", "B", "beta", "E", setup_.law == Law::bits ? "gamma_w" : "g", "gamma_a"}[i]);
  }
  return names;
}

double Form::log_at(const Point& point, std::span<const double> x, double* row) const {
  const std::size_t f = point.format;
  const double ln = math::log(point.n);
  double distance = ln - middle_n_;  // d(exponent)/d(-alpha)
  double by_w = 0, by_a = 0;
  if (setup_.law == Law::efficiency) {
    distance += shift_[f];
  } else if (setup_.law == Law::bits) {
    const Bits bits = *bits_of(setup_.formats[f]);
    const auto part = [&](double b, double ln_gamma, double& by) {
      const double t = b / math::exp(ln_gamma), e = math::exp(-t);
      by = -e * t / (1 - e);  // d ln(1 - e^-t) / d ln gamma
      return math::log(1 - e);
    };
    distance += part(bits.weight, x[kShared], by_w) + part(bits.activation, x[kShared2], by_a);
  }
  const double raised = setup_.law == Law::efficiency ? x[kFormats + f] : 0;
  const double size = math::exp(x[kSize] - x[kAlpha] * distance + raised);
  const double to_d = math::log(point.d) - middle_d_;
  const double data = math::exp(x[kData] - x[kBeta] * to_d);
  double extra = 0, extra_slope = 0, extra_unit = 0;
  if (setup_.law == Law::additive) {
    // A held k is k itself, a sought one k N0^-g.
    const double at = held_k_[f] ? ln : ln - middle_n_;
    extra_unit = math::exp(-x[kShared] * at);
    extra = (held_k_[f] ? *held_k_[f] : x[kFormats + f]) * extra_unit;
    extra_slope = -at * extra;
  }
  const double loss = size + data + x[kFloor] + extra;
  if (!(loss > 0) || !std::isfinite(loss)) return NAN;
  if (row) {
    row[kSize] = size / loss;
    row[kAlpha] = -distance * size / loss;
    row[kData] = data / loss;
    row[kBeta] = -to_d * data / loss;
    row[kFloor] = 1 / loss;
    if (setup_.law == Law::efficiency) {
      row[kFormats + f] = size / loss;
    } else if (setup_.law == Law::additive) {
      row[kShared] = extra_slope / loss;
      row[kFormats + f] = extra_unit / loss;
    } else {
      row[kShared] = -x[kAlpha] * by_w * size / loss;
      row[kShared2] = -x[kAlpha] * by_a * size / loss;
    }
  }
  return math::log(loss);
}

std::vector<double> Form::start(double alpha, double beta, double floor, double shared) const {
  std::vector<double> x(held_.size());
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = held_[i].value_or(0);
  const auto set = [&](std::size_t place, double value) {
    if (!held_[place]) x[place] = std::clamp(value, bounds_[place].low, bounds_[place].high);
  };
  set(kAlpha, alpha);
  set(kBeta, beta);
  set(kFloor, floor);
  set(kShared, shared);
  set(kShared2, shared);

  // Size and data terms: least squares over the base format's runs, or over all where it has too few.
  std::size_t base_runs = 0;
  for (const Point& p : setup_.points) base_runs += p.format == setup_.base;
  double uu = 0, uv = 0, vv = 0, ur = 0, vr = 0;
  for (const Point& p : setup_.points) {
    if (base_runs >= 2 && p.format != setup_.base) continue;
    double u = math::exp(-x[kAlpha] * (math::log(p.n) - middle_n_)),
           v = math::exp(-x[kBeta] * (math::log(p.d) - middle_d_));
    double rest = p.loss - x[kFloor];
    if (held_[kSize]) rest -= u * math::exp(x[kSize]), u = 0;
    if (held_[kData]) rest -= v * math::exp(x[kData]), v = 0;
    u /= p.loss, v /= p.loss, rest /= p.loss;
    uu += u * u, uv += u * v, vv += v * v, ur += u * rest, vr += v * rest;
  }
  const double det = uu * vv - uv * uv;
  double size = uu > 0 ? ur / uu : 0, data = vv > 0 ? vr / vv : 0;
  if (det > 1e-12 * uu * vv) {
    const double s = (vv * ur - uv * vr) / det, d = (uu * vr - uv * ur) / det;
    if (s > 0 && d > 0)
      size = s, data = d;
    else if (s > 0)
      data = 1e-3 * data;
    else
      size = 1e-3 * size;
  } else {
    size /= 2, data /= 2;
  }
  if (!held_[kSize]) set(kSize, size > 0 ? math::log(size) : -5);
  if (!held_[kData]) set(kData, data > 0 ? math::log(data) : -5);

  if (setup_.law == Law::bits) return x;
  // Each format: the middle of what its runs ask for, alone.
  for (std::size_t f = 0; f < setup_.formats.size(); ++f) {
    if (held_[kFormats + f]) continue;
    std::vector<double> wanted;
    for (const Point& p : setup_.points) {
      if (p.format != f) continue;
      const double full = math::exp(x[kSize] - x[kAlpha] * (math::log(p.n) - middle_n_));
      const double rest = p.loss - x[kFloor] - math::exp(x[kData] - x[kBeta] * (math::log(p.d) - middle_d_));
      wanted.push_back(setup_.law == Law::additive
                           ? (rest - full) * math::exp(x[kShared] * (math::log(p.n) - middle_n_))
                       : rest > 0 ? math::log(rest / full)
                                  : 0.0);
    }
    const auto middle = wanted.begin() + static_cast<std::ptrdiff_t>(wanted.size() / 2);
    std::nth_element(wanted.begin(), middle, wanted.end());
    set(kFormats + f, *middle);
  }
  return x;
}

Least Form::solve(std::vector<double> full, const LeastOptions& options, std::span<const std::size_t> also_held) const {
  std::vector<std::size_t> sought;
  for (const std::size_t i : free_)
    if (std::find(also_held.begin(), also_held.end(), i) == also_held.end()) sought.push_back(i);
  std::vector<double> x;
  std::vector<Range> bounds;
  for (const std::size_t i : sought) {
    x.push_back(full[i]);
    bounds.push_back(bounds_[i]);
  }
  std::vector<double> row(full.size());
  const auto function = [&](std::span<const double> at, std::span<double> r, std::span<double> jacobian) {
    for (std::size_t j = 0; j < sought.size(); ++j) full[sought[j]] = at[j];
    for (std::size_t i = 0; i < r.size(); ++i) {
      if (!jacobian.empty()) std::fill(row.begin(), row.end(), 0.0);
      r[i] = log_at(setup_.points[i], full, jacobian.empty() ? nullptr : row.data()) - log_losses_[i];
      if (!std::isfinite(r[i])) return false;
      if (!jacobian.empty())
        for (std::size_t j = 0; j < sought.size(); ++j) jacobian[i * sought.size() + j] = row[sought[j]];
    }
    return true;
  };
  Least found = least(function, setup_.points.size(), std::move(x), bounds, options);
  for (std::size_t j = 0; j < sought.size(); ++j) full[sought[j]] = found.x[j];
  found.x = std::move(full);
  return found;
}

Constants Form::constants(std::span<const double> x) const {
  Constants c;
  c.alpha = x[kAlpha];
  c.A = math::exp(x[kSize] + c.alpha * middle_n_);
  c.beta = x[kBeta];
  c.B = x[kData] <= kNever ? 0 : math::exp(x[kData] + c.beta * middle_d_);
  c.E = x[kFloor];
  if (setup_.law == Law::additive) c.g = x[kShared];
  if (setup_.law == Law::bits) c.gamma_w = math::exp(x[kShared]), c.gamma_a = math::exp(x[kShared2]);
  std::vector<std::size_t> runs(setup_.formats.size());
  for (const Point& p : setup_.points) ++runs[p.format];
  for (std::size_t f = 0; f < setup_.formats.size(); ++f) {
    double value = NAN;
    if (setup_.law == Law::bits) {
      if (const auto bits = bits_of(setup_.formats[f])) value = eff_of_bits(c, bits->weight, bits->activation);
    } else if (f == setup_.base) {
      value = setup_.law == Law::additive ? 0 : 1;
    } else if (runs[f] > 0 && setup_.law == Law::efficiency) {
      value = math::exp(shift_[f] - x[kFormats + f] / c.alpha);
    } else if (runs[f] > 0) {
      value = held_k_[f] ? *held_k_[f] : x[kFormats + f] * math::exp(c.g * middle_n_);
    }
    c.of_format.push_back(value);
  }
  return c;
}

std::vector<double> Form::logs(std::span<const double> full) const {
  std::vector<double> out;
  for (const Point& p : setup_.points) out.push_back(log_at(p, full, nullptr));
  return out;
}

}  // namespace lowbit::laws
