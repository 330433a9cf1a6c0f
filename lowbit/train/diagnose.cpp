#include "lowbit/train/diagnose.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <map>

#include "lowbit/autograd/llama.h"
#include "lowbit/base/error.h"
#include "lowbit/base/interrupt.h"
#include "lowbit/model/model_folder.h"
#include "lowbit/train/checkpoint.h"

namespace lowbit::train {
namespace {

constexpr char kStopped[] = "diagnosis stopped; nothing was written";

std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

std::string short_name(std::string name) {
  if (name.ends_with(".weight")) name.resize(name.size() - 7);
  if (name.starts_with("model.")) name.erase(0, 6);
  return name;
}

/// Sums over rows of what coding did to them.
struct ErrorSums {
  double error = 0, squares = 0, sum = 0;
  std::size_t masked = 0, entries = 0;

  void add(Executor& executor, const kernels::RowCoding& coding, std::size_t rows, std::size_t k, const float* x,
           const kernels::CodedRows& coded) {
    std::vector<float> rotated(rows * k);
    kernels::rotate_rows(executor, coding.group, rows, k, x, k, rotated.data(), k);
    for (std::size_t r = 0; r < rows; ++r)
      for (std::size_t i = 0; i < k; ++i) {
        const double v = static_cast<double>(rotated[r * k + i]);
        const double q =
            static_cast<double>(coded.scale[r]) * coding.grid->value(coded.codes[r * kernels::code_stride(k) + i]) +
            static_cast<double>(coded.offset ? coded.offset[r] : coding.offset);
        error += (v - q) * (v - q);
        squares += v * v;
        sum += v;
      }
    if (coded.mask)
      for (std::size_t i = 0; i < rows * kernels::mask_words(k); ++i) masked += size(std::popcount(coded.mask[i]));
    entries += rows * k;
  }
  SideDiagnosis result(const SideCoding& side, std::size_t k) const {
    const auto count = static_cast<double>(entries);
    const double mean = entries ? sum / count : 0, variance = entries ? squares / count - mean * mean : 0;
    SideDiagnosis side_of{squares > 0 ? error / squares : 0, entries ? 1 - static_cast<double>(masked) / count : 0, {}};
    if (variance > 0) side_of.normal = gaussian_coding(side, {k, mean, std::sqrt(variance)});
    return side_of;
  }
};

/// A checkpoint's model, ready to be trained on.
struct Opened {
  model::ModelFolder folder;
  autograd::Llama llama;
  /// reference   the model's scheme in another arithmetic, or null.
  Opened(Executor& executor, const std::filesystem::path& path, std::size_t length, const Scheme* reference)
      : folder(path),
        llama(executor, folder.config(), reference ? *reference : folder.scheme(), kernels::Precision::f32, length) {
    load_weights(path, llama);
    llama.refresh();
  }
};

double cosine_and_ratio(const std::vector<float>& a, const std::vector<float>& b, double& ratio) {
  double ab = 0, aa = 0, bb = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const auto x = static_cast<double>(a[i]), y = static_cast<double>(b[i]);
    ab += x * y;
    aa += x * x;
    bb += y * y;
  }
  ratio = bb > 0 ? std::sqrt(aa / bb) : 0;
  return aa > 0 && bb > 0 ? ab / std::sqrt(aa * bb) : 0;
}

std::vector<LayerChange> changes(Executor& executor, const autograd::Llama& now, const std::filesystem::path& earlier,
                                 std::size_t length) {
  const Opened before(executor, earlier, length, nullptr);
  if (!(before.folder.config() == now.weights().config) ||
      before.folder.scheme().format != now.weights().scheme.format ||
      before.folder.scheme().layer_formats != now.weights().scheme.layer_formats)
    fail_input("{} holds a model of another shape or format; name an earlier checkpoint of the same run",
               earlier.string());
  std::vector<LayerChange> all;
  for (const model::TensorSpec& spec : model::tensors(now.weights().config)) {
    if (!spec.linear() || !now.weights().scheme.word_of(spec.layer, model::kind_of(spec.role)).weight) continue;
    const nn::LinearWeights& a =
        nn::LlamaWeights::linear_of(before.llama.weights().blocks[size(spec.layer)], spec.role);
    const nn::LinearWeights& b = nn::LlamaWeights::linear_of(now.weights().blocks[size(spec.layer)], spec.role);
    LayerChange change{short_name(spec.name), 0, 0, 0, 0};
    std::size_t masked_before = 0, masked_now = 0, both = 0, changed = 0;
    const std::size_t words = kernels::mask_words(a.k()), stride = kernels::code_stride(a.k());
    for (std::size_t r = 0; r < a.n(); ++r) {
      for (std::size_t i = 0; i < a.k(); ++i) {
        const std::size_t word = r * words + i / 64;
        const bool was = !(a.coded().mask[word] >> (i % 64) & 1), is = !(b.coded().mask[word] >> (i % 64) & 1);
        masked_before += was;
        masked_now += is;
        both += was && is;
        changed += a.coded().codes[r * stride + i] != b.coded().codes[r * stride + i];
      }
    }
    const auto entries = static_cast<double>(a.n() * a.k());
    change.masked_before = static_cast<double>(masked_before) / entries;
    change.masked_now = static_cast<double>(masked_now) / entries;
    change.still_masked = masked_before ? static_cast<double>(both) / static_cast<double>(masked_before) : 0;
    change.codes_changed = static_cast<double>(changed) / entries;
    all.push_back(change);
  }
  return all;
}

}  // namespace

Diagnosis diagnose(Executor& executor, const DiagnoseOptions& options, const Feed& feed) {
  const model::ModelFolder folder(options.model);
  const Scheme& scheme = folder.scheme();
  const std::vector<Format> words = scheme.words();
  const bool coded_weights = std::any_of(words.begin(), words.end(), [](const Format& f) { return f.weight; });
  if (!scheme.quantized())
    fail_input("{} has format {}, which codes nothing; there is nothing to diagnose", options.model.string(),
               scheme.name());
  if (folder.packed())
    fail_input("{} is packed, so its weights are codes; name the checkpoint it was packed from",
               options.model.string());
  const std::size_t length = size(options.length), windows = size(options.windows), rows = windows * length;
  std::vector<std::int32_t> ids(rows), targets(rows);
  for (std::size_t i = 0; i < windows; ++i)
    feed.window(i, std::span(ids).subspan(i * length, length), std::span(targets).subspan(i * length, length));

  Diagnosis d;
  d.format = scheme.name();
  d.tokens = static_cast<std::int64_t>(rows);
  check_interrupt(kStopped);
  Opened model(executor, options.model, length, nullptr);
  std::map<std::string, ErrorSums> inputs;  // by the first layer that reads them
  model.llama.set_observer([&](const autograd::LinearGroup& group, const float* x, std::size_t count) {
    check_interrupt(kStopped);
    const nn::LinearInput& input = group.input();
    if (!input.coding().format.quantized() || !input.coding().format.activation) return;
    for (const autograd::Parameter* p : group.parameters())
      if (p->spec.linear())
        inputs[p->spec.name].add(executor, nn::input_coding(input.coding()), count, input.k(), x, input.coded());
  });
  const std::vector<std::vector<float>> with = model.llama.block_gradients(ids, targets, length);
  model.llama.set_observer({});

  check_interrupt(kStopped);
  Scheme reference = scheme;
  const auto uncoded = [&](const Format& f) {
    return options.against_bf16 || !f.weight ? Format{Format::Kind::bf16}
                                             : Format{Format::Kind::quantized, f.weight, nullptr};
  };
  reference.format = uncoded(scheme.format);
  for (LayerFormat& rule : reference.layer_formats) rule.format = uncoded(rule.format);
  d.reference = reference.name();
  {
    Opened other(executor, options.model, length, &reference);
    const std::vector<std::vector<float>> without = other.llama.block_gradients(ids, targets, length);
    for (std::size_t i = 0; i < with.size(); ++i) {
      BlockAlignment block{static_cast<std::int64_t>(i), 0, 0};
      block.cosine = cosine_and_ratio(with[i], without[i], block.norm_ratio);
      d.blocks.push_back(block);
    }
  }
  for (autograd::Parameter& p : model.llama.parameters()) {
    if (!p.spec.linear()) continue;
    check_interrupt(kStopped);
    const nn::LinearWeights& w =
        nn::LlamaWeights::linear_of(model.llama.weights().blocks[size(p.spec.layer)], p.spec.role);
    LayerDiagnosis layer{short_name(p.spec.name), {}, {}};
    ErrorSums sums;
    const bool coded = w.coding().format.weight;
    if (coded)
      sums.add(executor, nn::weight_coding(w.coding()), w.n() * w.slices(), w.slice(), p.value.const_data_ptr<float>(),
               w.coded());
    if (coded) layer.weight = sums.result(w.coding().weight, w.slice());
    if (const auto found = inputs.find(p.spec.name); found != inputs.end())
      layer.input = found->second.result(w.coding().input, w.k());
    d.layers.push_back(layer);
  }
  if (!options.earlier.empty() && !coded_weights)
    fail_input("{} has format {}, whose weights have no codes that could have changed; leave out --earlier",
               options.model.string(), scheme.name());
  if (!options.earlier.empty()) d.changes = changes(executor, model.llama, options.earlier, length);
  return d;
}

}  // namespace lowbit::train
