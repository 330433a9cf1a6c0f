#include "lowbit/train/bits.h"

#include <algorithm>
#include <cassert>
#include <cmath>

#include "lowbit/base/error.h"
#include "lowbit/base/interrupt.h"
#include "lowbit/base/rng.h"
#include "lowbit/laws/allocation.h"
#include "lowbit/run/window_losses.h"

namespace lowbit::train {
namespace {

// Noise, relative to the error that a layer has now: about a bit less would make it four times as large.
constexpr double kNoise[] = {2, 4};
constexpr std::int64_t kTokens = 16384;

std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

std::vector<std::string> words_of(std::string_view list) {
  std::vector<std::string> words;
  for (std::size_t at = 0; at <= list.size();) {
    const std::size_t comma = std::min(list.find(',', at), list.size());
    words.emplace_back(list.substr(at, comma - at));
    at = comma + 1;
  }
  return words;
}

/// The same activations before weights that are not coded, so that noise of any size can stand in them.
Format with_float_weights(const Format& f) {
  if (!f.weight) return f;
  return f.activation ? Format{Format::Kind::quantized, nullptr, f.activation} : Format{Format::Kind::bf16};
}

/// Losses of fixed windows under whatever weights the model has.
class Windows {
 public:
  Windows(Executor& executor, const autograd::Llama& llama, const Feed& feed, std::uint64_t cursor, std::int64_t seq)
      : length_(size(seq)), losses_of_(executor, llama.weights(), length_) {
    const std::uint64_t wanted = static_cast<std::uint64_t>(std::max<std::int64_t>(4, kTokens / seq));
    const std::uint64_t count = feed.repeats() ? wanted : std::min(wanted, feed.windows());
    const std::uint64_t first = feed.repeats() ? cursor : std::min(cursor, feed.windows() - count);
    ids_.resize(size(static_cast<std::int64_t>(count)) * length_);
    targets_.resize(ids_.size());
    losses_.resize(ids_.size());
    for (std::uint64_t i = 0; i < count; ++i)
      feed.window(first + i, std::span(ids_).subspan(i * length_, length_),
                  std::span(targets_).subspan(i * length_, length_));
  }
  /// Mean loss of each window.
  std::vector<double> losses() {
    losses_of_(ids_, targets_, length_, losses_);
    std::vector<double> means(losses_.size() / length_);
    for (std::size_t i = 0; i < losses_.size(); ++i) means[i / length_] += losses_[i] / static_cast<double>(length_);
    return means;
  }

 private:
  std::size_t length_;
  run::WindowLosses losses_of_;
  std::vector<std::int32_t> ids_, targets_;
  std::vector<double> losses_;
};

struct Mean {
  double value = 0, error = 0;  ///< its standard error
};
Mean mean_of(const std::vector<double>& x) {
  const auto n = static_cast<double>(x.size());
  double sum = 0, squares = 0;
  for (const double v : x) sum += v;
  for (const double v : x) squares += (v - sum / n) * (v - sum / n);
  return {sum / n, x.size() > 1 ? std::sqrt(squares / (n * (n - 1))) : 0};
}

/// Makes the changes to a model's weights that measuring needs, and undoes them all.
class Probe {
 public:
  Probe(Executor& executor, autograd::Llama& llama, const BitsPlan& plan)
      : executor_(executor),
        llama_(llama),
        format_(llama.weights().scheme.format),
        rules_(llama.weights().scheme.layer_formats) {
    for (const BitsLayer& layer : plan.layers) {
      autograd::Parameter& p = llama.parameter(layer.spec.name);
      const float* values = p.value.const_data_ptr<float>();
      parameters_.push_back(&p);
      masters_.emplace_back(values, values + p.value.numel());
    }
  }
  ~Probe() {
    for (std::size_t i = 0; i < parameters_.size(); ++i) write(i, masters_[i].data());
    llama_.set_format(format_, rules_);
    llama_.refresh();
  }
  Probe(const Probe&) = delete;

  double squares(std::size_t i) const {
    double sum = 0;
    for (const float x : masters_[i]) sum += static_cast<double>(x) * static_cast<double>(x);
    const double factor = static_cast<double>(parameters_[i]->factor());
    return factor * factor * sum;
  }
  /// |w - Q(w)|^2 / |w|^2 of a layer in a format.
  double error(std::size_t i, const Format& word) {
    const model::TensorSpec& spec = parameters_[i]->spec;
    const std::size_t n = size(spec.rows), k = size(spec.columns);
    Scheme scheme = llama_.weights().scheme;
    scheme.format = word;
    scheme.layer_formats.clear();
    const model::TensorCoding coding = model::coding_of(spec, scheme);
    std::vector<float> w(n * k), rotated(n * k), decoded(n * k);
    kernels::scale_values(executor_, n * k, parameters_[i]->factor(), masters_[i].data(), w.data());
    scratch_.set(executor_, coding, n, k, w.data(), {true, false});
    kernels::rotate_rows(executor_, coding.group, n, k, w.data(), k, rotated.data(), k);
    decode(scratch_, 1, decoded.data());
    double sum = 0, all = 0;
    for (std::size_t j = 0; j < n * k; ++j) {
      const double x = static_cast<double>(rotated[j]), d = x - static_cast<double>(decoded[j]);
      sum += d * d;
      all += x * x;
    }
    return all > 0 ? sum / all : 0;
  }
  /// From here on the layers' weights are the values that their codes stood for, as floats.
  void decode_all() {
    const bool rotated = llama_.weights().scheme.transform == Transform::hadamard_weights;  // and stay so
    for (autograd::Parameter* p : parameters_) {
      const nn::LinearWeights& w =
          nn::LlamaWeights::linear_of(llama_.weights().blocks[size(p->spec.layer)], p->spec.role);
      decoded_.emplace_back(w.n() * w.k());
      decode(w, rotated ? 1 : w.coding().group, decoded_.back().data());
      kernels::scale_values(executor_, decoded_.back().size(), 1 / p->factor(), decoded_.back().data(),
                            decoded_.back().data());
    }
    std::vector<LayerFormat> rules = rules_;
    for (LayerFormat& rule : rules) rule.format = with_float_weights(rule.format);
    llama_.set_format(with_float_weights(format_), rules);
    for (std::size_t i = 0; i < parameters_.size(); ++i) write(i, decoded_[i].data());
    llama_.refresh();
  }
  /// Adds `amount` times normal draws to one layer; 0 takes them away again.
  void set_noise(std::size_t i, const Rng& rng, double amount) {
    autograd::Parameter& p = *parameters_[i];
    const std::vector<float>& from = decoded_[i];
    float* to = p.value.mutable_data_ptr<float>();
    constexpr std::size_t kChunk = std::size_t{1} << 14;
    executor_.parallel_for((from.size() + kChunk - 1) / kChunk, [&](std::size_t chunk) {
      for (std::size_t j = chunk * kChunk; j < std::min(from.size(), (chunk + 1) * kChunk); ++j)
        to[j] = amount == 0
                    ? from[j]
                    : from[j] + static_cast<float>(amount * rng.normal(static_cast<std::uint64_t>(p.number) << 32 | j));
    });
    llama_.refresh(p);
  }
  float factor(std::size_t i) const { return parameters_[i]->factor(); }

 private:
  void write(std::size_t i, const float* values) {
    std::copy_n(values, masters_[i].size(), parameters_[i]->value.mutable_data_ptr<float>());
  }
  void decode(const nn::LinearWeights& w, int group, float* out) {
    kernels::RowCoding coding = nn::weight_coding(w.coding());
    coding.group = group;
    kernels::decode_rows(executor_, coding, w.n() * w.slices(), nullptr, w.slice(), w.coded().codes, w.scale(), out,
                         w.slice());
  }
  Executor& executor_;
  autograd::Llama& llama_;
  Format format_;
  std::vector<LayerFormat> rules_;
  std::vector<autograd::Parameter*> parameters_;
  std::vector<std::vector<float>> masters_, decoded_;
  nn::LinearWeights scratch_;
};

double bits_of(std::int64_t bytes, std::int64_t weights) {
  return 8 * static_cast<double>(bytes) / static_cast<double>(weights);
}

/// What the budget buys when all layers have the same weights: the choice of most bytes that fits, which the rest is
/// held against.
struct Uniform {
  std::size_t choice = 0;
  std::int64_t bytes = -1;
  double cost = 0;
};

Uniform best_uniform(const BitsPlan& plan, const std::vector<std::vector<laws::StorageChoice>>& costs) {
  Uniform best;
  for (std::size_t c = 0; c < plan.layers.front().formats.size(); ++c) {
    Uniform u{c, 0, 0};
    for (const auto& choices : costs) {
      u.bytes += choices[c].bytes;
      u.cost += choices[c].cost;
    }
    if (u.bytes > plan.budget_bytes) continue;
    if (best.bytes < 0 || u.bytes > best.bytes || (u.bytes == best.bytes && u.cost < best.cost)) best = u;
  }
  return best;
}

}  // namespace

BitsPlan plan_bits(const Options& o) {
  const auto refuse_choice = [&](const std::string& word) {
    fail_usage("--bits-choices: '{}' is no width of weights; choose from 1, 1.58, 2, 3 .. 8, in a list", word);
  };
  BitsPlan plan;
  std::int64_t least = 0;
  for (const model::TensorSpec& spec : model::tensors(o.config)) {
    if (!spec.linear()) continue;
    const Format& now = o.scheme.word_of(spec.layer, model::kind_of(spec.role));
    plan.all_weights += spec.elements();
    if (!now.weight) {
      plan.fixed_bytes += model::stored_bytes(spec, now, o.scheme.scale_group).total();
      continue;
    }
    BitsLayer layer{spec, {}, {}};
    for (const std::string& word : words_of(o.bits_choices)) {
      const Grid* grid = find_grid(word);
      if (!grid) refuse_choice(word);
      layer.formats.push_back({Format::Kind::quantized, grid, now.activation});
      layer.bytes.push_back(model::stored_bytes(spec, layer.formats.back(), o.scheme.scale_group).total());
    }
    plan.weights += spec.elements();
    least += *std::min_element(layer.bytes.begin(), layer.bytes.end());
    plan.layers.push_back(std::move(layer));
  }
  if (plan.layers.empty())
    fail_usage("--bits-budget chooses the bits of coded weights, which --format {} does not have", o.scheme.name());
  for (const BitsLayer& layer :
       plan.layers)  // each alone in the run's scheme: its grid has a table, its row is not too long
    for (const Format& format : layer.formats) {
      Scheme scheme = o.scheme;
      scheme.format = format;
      scheme.layer_formats.clear();
      o.config.check(scheme);
    }
  // A hair more, so that a budget that was computed as a quotient of bytes buys them all.
  plan.budget_bytes =
      static_cast<std::int64_t>(std::floor(o.bits_budget * static_cast<double>(plan.all_weights) / 8 + 0.01)) -
      plan.fixed_bytes;
  if (least > plan.budget_bytes)
    fail_usage(
        "--bits-budget {} is too small: with the fewest bits of --bits-choices {} the blocks' weights take {:.4f} "
        "each, scales included",
        o.bits_budget, o.bits_choices, bits_of(least + plan.fixed_bytes, plan.all_weights));
  return plan;
}

std::int64_t bits_step(const Options& o) {
  return std::max<std::int64_t>(1, static_cast<std::int64_t>(o.bits_at * static_cast<double>(o.steps)));
}

report::BitsRecord choose_bits(Executor& executor, autograd::Llama& llama, const Feed& feed, std::uint64_t cursor,
                               std::int64_t step, const Options& options, std::vector<LayerFormat>& chosen) {
  const BitsPlan plan = plan_bits(options);
  const Scheme scheme = llama.weights().scheme;
  report::BitsRecord record;
  record.step = step;
  record.cost_before = 0;
  record.budget = options.bits_budget;
  std::vector<std::vector<laws::StorageChoice>> costs;
  std::vector<double> before;  // the error that each layer has now
  std::vector<laws::Sensitivity> alphas;
  {
    Probe probe(executor, llama, plan);
    for (std::size_t i = 0; i < plan.layers.size(); ++i) {
      const BitsLayer& layer = plan.layers[i];
      report::LayerBits of{layer_name(layer.spec.layer, model::kind_of(layer.spec.role)), 0, 0, "", 0, 0, {}, {}};
      for (std::size_t c = 0; c < layer.formats.size(); ++c)
        of.choices.push_back({layer.formats[c].name(), bits_of(layer.bytes[c], layer.spec.elements()),
                              probe.error(i, layer.formats[c])});
      before.push_back(probe.error(i, scheme.word_of(layer.spec.layer, model::kind_of(layer.spec.role))));
      record.layers.push_back(std::move(of));
    }
    probe.decode_all();
    Windows windows(executor, llama, feed, cursor, options.seq);
    const std::vector<double> quiet = windows.losses();
    record.loss = mean_of(quiet).value;
    const Rng rng(options.seed, RandomUse::sensitivity, static_cast<std::uint64_t>(step));
    for (std::size_t i = 0; i < plan.layers.size(); ++i) {
      check_interrupt("stopped while the layers were measured");
      std::vector<laws::NoiseSample> samples;
      const double root = std::sqrt(probe.squares(i) / static_cast<double>(plan.layers[i].spec.elements())) /
                          static_cast<double>(probe.factor(i));
      for (const double times : kNoise) {
        const double t2 = times * before[i];
        // Both signs of one draw: what is linear in it cancels, and with it most of the scatter.
        std::vector<double> change(quiet.size());
        for (const double sign : {1.0, -1.0}) {
          probe.set_noise(i, rng, sign * root * std::sqrt(t2));
          const std::vector<double> noisy = windows.losses();
          for (std::size_t w = 0; w < change.size(); ++w) change[w] += (noisy[w] - quiet[w]) / 2;
        }
        const Mean mean = mean_of(change);
        samples.push_back({t2, mean.value, mean.error});
        record.layers[i].samples.emplace_back(t2, mean.value);
      }
      probe.set_noise(i, rng, 0);
      alphas.push_back(laws::sensitivity(samples));
      record.layers[i].alpha = alphas.back().alpha;
      record.layers[i].alpha_error = alphas.back().error;
    }
  }
  std::int64_t bytes = plan.fixed_bytes;
  for (std::size_t i = 0; i < plan.layers.size(); ++i) {
    const double alpha = alphas[i].cautious();
    costs.emplace_back();
    for (std::size_t c = 0; c < plan.layers[i].formats.size(); ++c)
      costs.back().push_back({plan.layers[i].bytes[c], alpha * record.layers[i].choices[c].error});
    record.cost_before += alpha * before[i];
  }
  const laws::Allocation best = laws::allocate(costs, plan.budget_bytes);
  const Uniform uniform = best_uniform(plan, costs);
  if (uniform.bytes >= 0) {
    record.uniform = record.layers.front().choices[uniform.choice].format;
    record.uniform_bits = bits_of(uniform.bytes + plan.fixed_bytes, plan.all_weights);
    record.uniform_cost = uniform.cost;
  }
  chosen = scheme.layer_formats;
  for (std::size_t i = 0; i < plan.layers.size(); ++i) {
    const BitsLayer& layer = plan.layers[i];
    const Format& format = layer.formats[best.choice[i]];
    report::LayerBits& of = record.layers[i];
    of.format = format.name();
    of.bits = of.choices[best.choice[i]].bits;
    of.cost = costs[i][best.choice[i]].cost;
    bytes += layer.bytes[best.choice[i]];
    if (scheme.word_of(layer.spec.layer, model::kind_of(layer.spec.role)) != format)
      chosen.push_back({of.layer, format});
  }
  record.cost = best.cost;
  record.bits = bits_of(bytes, plan.all_weights);
  return record;
}

}  // namespace lowbit::train
