#include "lowbit/study/groups.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <tuple>

#include "lowbit/laws/bits.h"

namespace lowbit::study {
namespace {

/// Student's t at 97.5 % by degrees of freedom; from 30 on the last is within 2 % of the normal's.
double t_value(std::size_t degrees) {
  constexpr std::array<double, 30> t{12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
                                     2.201,  2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
                                     2.080,  2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042};
  return degrees <= t.size() ? t[degrees - 1] : 1.96 + 2.5 / static_cast<double>(degrees);
}

/// What full precision can have as well: a gain per matrix (of whatever rate), a teacher, normed heads.
std::array<bool, 3> additions_of(const std::string& format) {
  const auto has = [&](const char* word) { return format.find(word) != std::string::npos; };
  return {has(" gain-lr="), has(" distill"), has(" qk-norm")};
}

void find_gaps(std::vector<Group>& groups) {
  for (Group& group : groups) {
    const Group* twin = nullptr;
    for (const Group& other : groups)
      if (other.full_precision() && other.parameters == group.parameters && other.tokens == group.tokens &&
          additions_of(other.format) == additions_of(group.format) && (!twin || other.loss.value < twin->loss.value))
        twin = &other;
    if (!twin) continue;
    std::vector<double> paired, against_mean;
    for (const Run* run : group.runs) {
      against_mean.push_back(run->eval->nats_per_token - twin->loss.value);
      for (const Run* other : twin->runs)
        if (other->flag("seed") == run->flag("seed")) {
          paired.push_back(run->eval->nats_per_token - other->eval->nats_per_token);
          break;
        }
    }
    group.gap = mean_of(paired.size() == group.runs.size() ? paired : against_mean);
  }
}

}  // namespace

Mean mean_of(const std::vector<double>& values) {
  Mean mean;
  mean.count = values.size();
  if (values.empty()) return mean;
  const auto n = static_cast<double>(values.size());
  double sum = 0, squares = 0;
  for (const double v : values) sum += v;
  mean.value = sum / n;
  if (values.size() < 2) return mean;
  for (const double v : values) squares += (v - mean.value) * (v - mean.value);
  const double half = t_value(values.size() - 1) * std::sqrt(squares / (n - 1) / n);
  mean.interval = {mean.value - half, mean.value + half};
  return mean;
}

bool Group::full_precision() const { return laws::is_full_precision(words_of(format).front()); }

std::vector<Group> groups_of(const std::vector<Run>& runs) {
  std::map<std::tuple<double, double, bool, std::string>, Group> groups;
  for (const Run& run : runs) {
    if (!run.eval) continue;
    const bool coded = !laws::is_full_precision(words_of(run.format).front());
    Group& group = groups[{run.parameters, run.tokens, coded, run.format}];
    group.format = run.format;
    group.parameters = run.parameters;
    group.tokens = run.tokens;
    group.runs.push_back(&run);
  }
  std::vector<Group> list;
  for (auto& [key, group] : groups) {
    std::stable_sort(group.runs.begin(), group.runs.end(), [](const Run* a, const Run* b) {
      const std::string x = a->flag("seed"), y = b->flag("seed");
      return x.size() != y.size() ? x.size() < y.size() : x < y;  // numbers without signs
    });
    std::vector<double> losses, seconds;
    for (const Run* run : group.runs) {
      losses.push_back(run->eval->nats_per_token);
      if (std::isfinite(run->outcome.seconds)) seconds.push_back(run->outcome.seconds);
    }
    group.loss = mean_of(losses);
    group.seconds = mean_of(seconds).value;
    group.bytes = static_cast<double>(group.runs.front()->outcome.stored_bytes);
    list.push_back(std::move(group));
  }
  find_gaps(list);
  return list;
}

std::optional<Place> fullest_place(const std::vector<Group>& groups) {
  std::map<std::pair<double, double>, int> count;
  for (const Group& group : groups) ++count[{group.parameters, group.tokens}];
  std::optional<Place> best;
  int most = 0;
  for (const auto& [place, n] : count)
    if (n >= most) most = n, best = Place{place.first, place.second};
  return best;
}

}  // namespace lowbit::study
