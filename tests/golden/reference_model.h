#pragma once
#include <array>
#include <cassert>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "golden/reference_linear.h"
#include "lowbit/files/safetensors.h"

// A Llama and its gradients on number type T, by whole matrices out of the reference templates: what the golden runs of
// the paper's code are compared with. In double it must repeat them; in float it is the arithmetic that ships.
namespace lowbit::golden {

/// As in the golden runs' config.json.
struct ModelShape {
  std::size_t layers = 2, hidden = 128, heads = 2, head_dim = 64, mlp = 512, vocabulary = 512;
  double eps = 1e-5, theta = 10000;
};

template <class T>
struct Parameter {
  std::string name;  ///< as Hugging Face names it
  bool decayed = false;
  std::vector<T> value, gradient;
};

/// Windows of one batch: ids [sequences, length + 1]; inputs are the first `length` of each, targets the last.
struct Batch {
  std::size_t sequences = 0, length = 0;
  std::span<const std::uint16_t> ids;
  std::size_t tokens() const { return sequences * length; }
  std::size_t input(std::size_t i) const { return ids[i / length * (length + 1) + i % length]; }
  std::size_t target(std::size_t i) const { return ids[i / length * (length + 1) + i % length + 1]; }
};

template <class T>
class ReferenceModel {
 public:
  ReferenceModel(const files::SafetensorsFile& weights, const Scheme& scheme, EdgeRules rules = {},
                 ModelShape shape = {})
      : shape_(shape), scheme_(scheme), rules_(rules) {
    add(weights, "model.embed_tokens.weight", false);
    for (std::size_t layer = 0; layer < shape_.layers; ++layer) {
      const std::string at = "model.layers." + std::to_string(layer) + ".";
      for (const char* norm : {"input_layernorm", "post_attention_layernorm"})
        add(weights, at + norm + ".weight", false);
      for (const char* linear : {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
                                 "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"})
        add(weights, at + linear + ".weight", true);
    }
    add(weights, "model.norm.weight", false);
    add(weights, "lm_head.weight", false);
    weights_changed();
  }

  std::vector<Parameter<T>>& parameters() { return parameters_; }
  /// Learned steps, ten a layer: of the weights of q, k and v together, o, gate, up, down, then of their inputs, then,
  /// where they are learned, the offsets of these. Empty where none are learned; 0 until what they belong to was seen.
  std::vector<Parameter<T>>& steps() { return steps_; }
  const std::vector<Parameter<T>>& parameters() const { return parameters_; }
  Parameter<T>& parameter(const std::string& name) {
    for (Parameter<T>& step : steps_)
      if (step.name == name) return step;
    return parameters_[index_.at(name)];
  }

  /// Codes the weights: once after each change of their values.
  void weights_changed() {
    layers_.resize(shape_.layers);
    if (is_learned(scheme_.estimator) && steps_.empty()) begin_steps();
    for (std::size_t layer = 0; layer < shape_.layers; ++layer)
      for (std::size_t i = 0; i < 7; ++i) layers_[layer].weights[i] = coded_weight(linear(layer, i).value, layer, i);
    head_ = make_operand<T>(parameters_.back().value, shape_.hidden, nullptr, 1, 0);
  }

  /// Mean loss in nats per token; keeps what backward() needs.
  double forward(const Batch& batch) {
    batch_ = batch;
    const std::size_t rows = batch.tokens(), width = shape_.hidden;
    rope_tables(batch.length);
    std::vector<T> x(rows * width);
    const auto& table = parameters_.front().value;
    for (std::size_t i = 0; i < rows; ++i)
      std::copy_n(table.begin() + batch.input(i) * width, width, x.begin() + i * width);
    for (std::size_t layer = 0; layer < shape_.layers; ++layer) forward_layer(layers_[layer], layer, x);
    final_x_ = x;
    final_in_ = make_operand<T>(norm(x, parameters_[parameters_.size() - 2].value, final_inv_), width, nullptr, 1, 0);
    logits_ = linear_forward(final_in_, head_);
    double loss = 0;
    for (std::size_t i = 0; i < rows; ++i)
      loss += reference::cross_entropy_row<T>(row(logits_, i, shape_.vocabulary), batch.target(i));
    return loss / static_cast<double>(rows);
  }

  /// Logits of token i of the batch of the last forward().
  std::span<const T> logits(std::size_t i) const { return {logits_.data() + i * shape_.vocabulary, shape_.vocabulary}; }

  /// Codes, or masks, of weights and activations of the last forward(): to see what two models decide apart.
  std::vector<std::uint8_t> codes() const { return all(&Operand<T>::codes); }
  std::vector<std::uint8_t> masks() const { return all(&Operand<T>::trusted); }

  /// Writes the gradients of the mean loss of the last forward() into parameters().
  void backward() {
    for (auto& parameter : parameters_) parameter.gradient.assign(parameter.value.size(), T{0});
    for (Layer& layer : layers_)
      for (const Operand<T>& weight : layer.weights) weight.step_gradient = 0;  // those of inputs are made anew
    const std::size_t rows = batch_.tokens(), width = shape_.hidden, vocabulary = shape_.vocabulary;
    std::vector<T> dlogits(logits_.size()), dx;
    for (std::size_t i = 0; i < rows; ++i)
      reference::cross_entropy_backward_row<T>(row(logits_, i, vocabulary), batch_.target(i),
                                               T{1} / static_cast<T>(rows), row(dlogits, i, vocabulary));
    linear_backward<T>(final_in_, head_, dlogits, dx, parameters_.back().gradient);
    norm_backward(final_x_, parameters_[parameters_.size() - 2], final_inv_, dx);
    for (std::size_t layer = shape_.layers; layer-- > 0;) backward_layer(layers_[layer], layer, dx);
    std::vector<std::int32_t> ids(rows);
    for (std::size_t i = 0; i < rows; ++i) ids[i] = static_cast<std::int32_t>(batch_.input(i));
    reference::embedding_backward<T>(ids, width, dx, parameters_.front().gradient);
    if (!steps_.empty()) gather_steps();
  }

  double gradient_norm() const {
    double sum = 0;
    for (const auto* list : {&parameters_, &steps_})
      for (const auto& parameter : *list)
        for (const T g : parameter.gradient) sum += static_cast<double>(g) * static_cast<double>(g);
    return math::sqrt(sum);
  }

 private:
  enum { kQ, kK, kV, kO, kGate, kUp, kDown };
  /// One layer's weights as coded, and what its last forward leaves for the backward.
  struct Layer {
    std::array<Operand<T>, 7> weights;
    Operand<T> attention_in, out_in, mlp_in, up_in, down_in;  ///< up_in: the same values with a step of its own
    std::vector<T> x0, inv0, q, k, v, out, log_sum, x1, inv1, gate, up;
  };

  std::vector<std::uint8_t> all(std::vector<std::uint8_t> Operand<T>::*what) const {
    std::vector<std::uint8_t> out;
    const auto append = [&](const Operand<T>& operand) {
      out.insert(out.end(), (operand.*what).begin(), (operand.*what).end());
    };
    for (const Layer& layer : layers_) {
      for (const auto& weight : layer.weights) append(weight);
      for (const auto* operand : {&layer.attention_in, &layer.out_in, &layer.mlp_in, &layer.down_in}) append(*operand);
    }
    return out;
  }

  void add(const files::SafetensorsFile& weights, const std::string& name, bool decayed) {
    index_[name] = parameters_.size();
    const auto& tensor = weights.at(name);
    const std::vector<float> values = tensor.floats();
    parameters_.push_back({name, decayed, std::vector<T>(values.begin(), values.end()), {}});
  }

  static std::span<const T> row(const std::vector<T>& x, std::size_t i, std::size_t k) { return {x.data() + i * k, k}; }
  static std::span<T> row(std::vector<T>& x, std::size_t i, std::size_t k) { return {x.data() + i * k, k}; }

  Parameter<T>& layer_parameter(std::size_t layer, std::size_t i) { return parameters_[1 + layer * 9 + i]; }
  Parameter<T>& linear(std::size_t layer, std::size_t i) { return layer_parameter(layer, 2 + i); }

  std::size_t inputs(std::size_t i) const { return i == kDown ? shape_.mlp : shape_.hidden; }

  EdgeRules rules_for(const Grid* grid) const {
    EdgeRules rules = rules_;
    // Clip classes of the paper's code, and its 1-bit runs, which use them, compare with the epsilon inside.
    const bool clip = scheme_.estimator == Estimator::clip || (grid && grid->levels == 2);
    if (rules.mask != EdgeRules::Mask::closed)
      rules.mask = scheme_.estimator == Estimator::ste ? EdgeRules::Mask::closed
                   : clip                              ? EdgeRules::Mask::literal_clip
                                                       : EdgeRules::Mask::literal_trust;
    return rules;
  }

  Operand<T> coded_side(const std::vector<T>& x, std::size_t k, const Grid* grid, int group, std::size_t step,
                        bool input) const {
    if (!grid) return make_operand<T>(x, k, SideCoding{}, group);
    SideCoding side = input ? scheme_.input_side(*grid) : scheme_.block_side(*grid);
    if (!steps_.empty()) side.step = static_cast<double>(steps_[step].value[0]);
    if (side.shift != Shift::none) side.offset = static_cast<double>(steps_[step + 5].value[0]);
    return make_operand<T>(x, k, side, group,
                           steps_.empty() ? rules_for(grid) : EdgeRules{EdgeRules::Mask::closed, false, true},
                           literal_trust(*grid, scheme_.fp4_threshold));
  }
  static std::size_t step_of(std::size_t i) { return i <= kV ? 0 : i - kV; }
  const Format& word_of(std::size_t layer, std::size_t i) const {
    return scheme_.word_of(static_cast<std::int64_t>(layer), static_cast<LayerKind>(i));
  }
  Operand<T> coded_weight(const std::vector<T>& w, std::size_t layer, std::size_t i) const {
    const std::size_t k = inputs(i);
    const Format& word = word_of(layer, i);
    return coded_side(w, k, scheme_.with_grids(word).weight, scheme_.weight_group(static_cast<std::int64_t>(k), word),
                      steps_a_layer() * layer + step_of(i), false);
  }
  Operand<T> coded_input(const std::vector<T>& x, std::size_t layer, std::size_t i) {
    const std::size_t k = inputs(i), step = steps_a_layer() * layer + 5 + step_of(i);
    if (!steps_.empty() && steps_[step].value[0] == T{0}) {
      steps_[step].value[0] = first_step(x);
      if (learns_offset(scheme_.estimator))  // as the code has it
        steps_[step + 5].value[0] = *std::min_element(x.begin(), x.end()) +
                                    steps_[step].value[0] * static_cast<T>(scheme_.format.activation->levels / 2);
    }
    const Format& word = word_of(layer, i);
    return coded_side(x, k, scheme_.with_grids(word).activation,
                      scheme_.activation_group(static_cast<std::int64_t>(k), word), step, true);
  }
  std::size_t steps_a_layer() const { return learns_offset(scheme_.estimator) ? 15 : 10; }

  T largest_level() const { return static_cast<T>(std::max(1, scheme_.format.weight->highest())); }
  /// 2 mean|x| / sqrt(q_max); with an offset that of the uniform grid for the RMS.
  T first_step(const std::vector<T>& x) const {
    T sum = 0;
    if (learns_offset(scheme_.estimator)) {
      const Grid& grid = *scheme_.format.weight;
      return T{2} * (static_cast<T>(grid.alpha) * reference::rms<T>(x) + static_cast<T>(1e-8)) /
             static_cast<T>(grid.levels - 1);
    }
    for (const T value : x) sum += std::abs(value);
    return T{2} * (sum / static_cast<T>(x.size())) / math::sqrt(largest_level());
  }
  void begin_steps() {
    for (std::size_t layer = 0; layer < shape_.layers; ++layer)
      for (std::size_t i = 0; i < steps_a_layer(); ++i) {
        constexpr const char* kLayers[] = {"self_attn.qkv_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj",
                                           "mlp.down_proj"};
        // As the golden runs name them.
        steps_.push_back({"model.layers." + std::to_string(layer) + "." + kLayers[i % 5] +
                              (i < 5    ? ".weight_quantizer.alpha_weight"
                               : i < 10 ? ".activation_quantizer.alpha_weight"
                                        : ".activation_quantizer.beta_weight"),
                          true,
                          {T{0}},
                          {T{0}}});
        if (i >= 5) continue;
        std::vector<T> w;
        for (std::size_t j = 0; j < 7; ++j)
          if (step_of(j) == i) w.insert(w.end(), linear(layer, j).value.begin(), linear(layer, j).value.end());
        steps_.back().value[0] = first_step(w);
      }
  }
  void gather_steps() {
    const bool scaled = scheme_.estimator == Estimator::lsq || learns_offset(scheme_.estimator);
    for (std::size_t layer = 0; layer < shape_.layers; ++layer) {
      const Layer& s = layers_[layer];
      for (std::size_t i = 0; i < steps_a_layer(); ++i) {
        T sum = 0, entries = 0;
        const auto take = [&](const Operand<T>& operand) {
          sum += i < 10 ? operand.step_gradient : operand.offset_gradient;
          entries += static_cast<T>(operand.rows * operand.k);
        };
        for (std::size_t j = 0; j < 7; ++j)
          if (i < 5 && step_of(j) == i) take(s.weights[j]);
        const Operand<T>* inputs[] = {&s.attention_in, &s.out_in, &s.mlp_in, &s.up_in, &s.down_in};
        if (i >= 5) take(*inputs[i % 5]);
        steps_[steps_a_layer() * layer + i].gradient = {scaled ? sum / math::sqrt(entries * largest_level()) : sum};
      }
    }
  }

  std::vector<T> norm(const std::vector<T>& x, const std::vector<T>& weight, std::vector<T>& inv) const {
    const std::size_t width = shape_.hidden;
    std::vector<T> y(x.size());
    inv.resize(x.size() / width);
    for (std::size_t i = 0; i < inv.size(); ++i)
      inv[i] = reference::rms_norm_row<T>(row(x, i, width), weight, static_cast<T>(shape_.eps), row(y, i, width));
    return y;
  }
  void norm_backward(const std::vector<T>& x, Parameter<T>& weight, const std::vector<T>& inv,
                     std::vector<T>& dx) const {
    const std::size_t width = shape_.hidden;
    for (std::size_t i = 0; i < inv.size(); ++i)
      reference::rms_norm_backward_row<T>(row(x, i, width), weight.value, inv[i], row(dx, i, width), row(dx, i, width),
                                          weight.gradient);
  }

  void rope_tables(std::size_t length) {
    const std::size_t half = shape_.head_dim / 2;
    cos_.resize(length * half), sin_.resize(length * half);
    for (std::size_t t = 0; t < length; ++t)
      for (std::size_t i = 0; i < half; ++i)
        std::tie(cos_[t * half + i], sin_[t * half + i]) =
            reference::rope_cos_sin<T>(static_cast<std::int64_t>(t), i, shape_.head_dim, shape_.theta);
  }
  template <class Rotate>
  void each_head(std::vector<T>& x, Rotate&& rotate) const {
    const std::size_t d = shape_.head_dim, half = d / 2;
    for (std::size_t i = 0; i < batch_.tokens(); ++i)
      for (std::size_t head = 0; head < shape_.heads; ++head)
        rotate(head_span(x, i, head), row(cos_, i % batch_.length, half), row(sin_, i % batch_.length, half));
  }
  std::span<T> head_span(std::vector<T>& x, std::size_t i, std::size_t head) const {
    return {x.data() + i * shape_.hidden + head * shape_.head_dim, shape_.head_dim};
  }

  void forward_layer(Layer& s, std::size_t layer, std::vector<T>& x) {
    s.x0 = x;
    s.attention_in = coded_input(norm(x, layer_parameter(layer, 0).value, s.inv0), layer, kQ);
    s.q = linear_forward(s.attention_in, s.weights[kQ]);
    s.k = linear_forward(s.attention_in, s.weights[kK]);
    s.v = linear_forward(s.attention_in, s.weights[kV]);
    for (auto* qk : {&s.q, &s.k})
      each_head(*qk, [](auto h, auto cos, auto sin) { reference::rope_row<T>(h, cos, sin); });
    s.out.resize(x.size());
    s.log_sum.resize(batch_.tokens() * shape_.heads);
    for (std::size_t i = 0; i < batch_.tokens(); ++i)
      for (std::size_t head = 0; head < shape_.heads; ++head) {
        const std::size_t first = i / batch_.length * batch_.length;
        s.log_sum[i * shape_.heads + head] = reference::attention_row<T>(
            head_span(s.q, i, head), i - first + 1, [&](std::size_t j) { return head_span(s.k, first + j, head); },
            [&](std::size_t j) { return head_span(s.v, first + j, head); }, head_span(s.out, i, head));
      }
    s.out_in = coded_input(s.out, layer, kO);
    add_to(x, linear_forward(s.out_in, s.weights[kO]));
    s.x1 = x;
    const std::vector<T> normed = norm(x, layer_parameter(layer, 1).value, s.inv1);
    s.mlp_in = coded_input(normed, layer, kGate);
    s.up_in = steps_.empty() ? s.mlp_in : coded_input(normed, layer, kUp);
    s.gate = linear_forward(s.mlp_in, s.weights[kGate]);
    s.up = linear_forward(s.up_in, s.weights[kUp]);
    std::vector<T> hidden(s.gate.size());
    for (std::size_t i = 0; i < hidden.size(); ++i) hidden[i] = reference::swiglu(s.gate[i], s.up[i]);
    s.down_in = coded_input(hidden, layer, kDown);
    add_to(x, linear_forward(s.down_in, s.weights[kDown]));
  }

  void backward_layer(Layer& s, std::size_t layer, std::vector<T>& dx) {
    std::vector<T> d, part;
    const bool clamped_only = scheme_.estimator == Estimator::pact || scheme_.estimator == Estimator::pact_code;
    linear_backward<T>(s.down_in, s.weights[kDown], dx, d, linear(layer, kDown).gradient, clamped_only);
    std::vector<T> dgate(d.size()), dup(d.size());
    for (std::size_t i = 0; i < d.size(); ++i)
      std::tie(dgate[i], dup[i]) = reference::swiglu_backward(s.gate[i], s.up[i], d[i]);
    linear_backward<T>(s.mlp_in, s.weights[kGate], dgate, d, linear(layer, kGate).gradient, clamped_only);
    linear_backward<T>(s.up_in, s.weights[kUp], dup, part, linear(layer, kUp).gradient, clamped_only);
    add_to(d, part);
    norm_backward(s.x1, layer_parameter(layer, 1), s.inv1, d);
    add_to(dx, d);

    linear_backward<T>(s.out_in, s.weights[kO], dx, d, linear(layer, kO).gradient, clamped_only);
    std::vector<T> dq(d.size()), dk(d.size()), dv(d.size());
    for (std::size_t first = 0; first < batch_.tokens(); first += batch_.length)
      for (std::size_t head = 0; head < shape_.heads; ++head) {
        const auto of = [&](std::vector<T>& x) {
          return [&x, first, head, this](std::size_t i) { return head_span(x, first + i, head); };
        };
        reference::attention_backward_head<T>(
            batch_.length, shape_.head_dim, of(s.q), of(s.k), of(s.v), of(s.out), of(d),
            [&](std::size_t i) { return s.log_sum[(first + i) * shape_.heads + head]; }, of(dq), of(dk), of(dv));
      }
    for (auto* dqk : {&dq, &dk})
      each_head(*dqk, [](auto h, auto cos, auto sin) { reference::rope_backward_row<T>(h, cos, sin); });
    linear_backward<T>(s.attention_in, s.weights[kQ], dq, d, linear(layer, kQ).gradient, clamped_only);
    linear_backward<T>(s.attention_in, s.weights[kK], dk, part, linear(layer, kK).gradient, clamped_only);
    add_to(d, part);
    linear_backward<T>(s.attention_in, s.weights[kV], dv, part, linear(layer, kV).gradient, clamped_only);
    add_to(d, part);
    norm_backward(s.x0, layer_parameter(layer, 0), s.inv0, d);
    add_to(dx, d);
  }

  static void add_to(std::vector<T>& x, const std::vector<T>& y) {
    for (std::size_t i = 0; i < x.size(); ++i) x[i] += y[i];
  }

  ModelShape shape_;
  Scheme scheme_;
  EdgeRules rules_;
  std::vector<Parameter<T>> parameters_, steps_;
  std::map<std::string, std::size_t> index_;
  std::vector<Layer> layers_;
  Operand<T> head_, final_in_;
  Batch batch_;
  std::vector<T> cos_, sin_, final_x_, final_inv_, logits_;
};

/// AdamW with decoupled decay 0.1 on the blocks' linear layers, global clip at norm 1: arXiv 2502.05003, section 4.
template <class T>
class ReferenceAdamW {
 public:
  /// One update from model.parameters()[..].gradient. returns the norm before clipping.
  double step(ReferenceModel<T>& model, double lr) {
    constexpr double kBeta1 = 0.9, kBeta2 = 0.95, kEps = 1e-8, kDecay = 0.1, kClip = 1.0;
    std::vector<Parameter<T>*> parameters;
    for (auto& parameter : model.parameters()) parameters.push_back(&parameter);
    for (auto& parameter : model.steps()) parameters.push_back(&parameter);
    m_.resize(parameters.size()), v_.resize(parameters.size());
    power1_ *= kBeta1, power2_ *= kBeta2;
    const double norm = model.gradient_norm();
    const T factor = static_cast<T>(std::min(1.0, kClip / (norm + 1e-6)));
    const T step_size = static_cast<T>(lr / (1 - power1_));
    const T root = static_cast<T>(math::sqrt(1 - power2_));
    for (std::size_t p = 0; p < parameters.size(); ++p) {
      auto& [name, decayed, value, gradient] = *parameters[p];
      m_[p].resize(value.size()), v_[p].resize(value.size());
      const T keep = decayed ? static_cast<T>(1 - lr * kDecay) : T{1};
      for (std::size_t i = 0; i < value.size(); ++i) {
        const T g = gradient[i] * factor;
        m_[p][i] += static_cast<T>(1 - kBeta1) * (g - m_[p][i]);
        v_[p][i] = static_cast<T>(kBeta2) * v_[p][i] + static_cast<T>(1 - kBeta2) * g * g;
        value[i] = value[i] * keep - step_size * m_[p][i] / (math::sqrt(v_[p][i]) / root + static_cast<T>(kEps));
      }
    }
    model.weights_changed();
    return norm;
  }

 private:
  std::vector<std::vector<T>> m_, v_;
  double power1_ = 1, power2_ = 1;
};

}  // namespace lowbit::golden
