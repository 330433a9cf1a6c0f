#include "lowbit/train/predict.h"

#include <algorithm>

#include "lowbit/model/tensors.h"

namespace lowbit::train {

TokenWork token_work(const Options& o) {
  const model::Config& c = o.config;
  const auto head = static_cast<double>(c.vocab * c.width);
  const auto blocks = static_cast<double>(c.block_parameters());
  // Scores and values, causal: on average half the sequence.
  const double attention = 2.0 * static_cast<double>(c.layers * c.q_width() * o.seq);
  return {2 * (blocks + head), 4 * (blocks + head), attention};
}

double peak_seconds_per_step(const Options& o, const Peaks& peaks) {
  const TokenWork work = token_work(o);
  // Of dX and dW, those with codes on the other side are int8 where that is asked for, the rest bf16.
  const double float_peak = o.backward == kernels::Precision::f32 ? peaks.f32 : peaks.bf16;
  const double code_peak = o.backward == kernels::Precision::int8 ? peaks.int8 : float_peak;
  const auto backward_seconds = [&](const Format& format, double operations) {
    return operations / 2 / (format.weight ? code_peak : float_peak) +
           operations / 2 / (format.integer() ? code_peak : float_peak);
  };
  const auto forward_peak = [&](const Format& f) {
    return f.integer() ? peaks.int8 : f.kind == Format::Kind::bf16 ? peaks.bf16 : peaks.f32;
  };
  double token = 0;
  for (const model::TensorSpec& spec : model::tensors(o.config)) {
    if (!spec.linear()) continue;
    const Format& f = o.scheme.word_of(spec.layer, model::kind_of(spec.role));
    const double operations = 2.0 * static_cast<double>(spec.elements());
    token += operations / forward_peak(f) + backward_seconds(f, 2 * operations);
  }
  const double head = 2.0 * static_cast<double>(o.config.vocab * o.config.width);
  const double head_peak = o.scheme.head.quantized()                  ? peaks.int8
                           : o.scheme.head.kind == Format::Kind::bf16 ? peaks.bf16
                                                                      : peaks.f32;
  // Attention in float32, its backward pass two and a half times its forward.
  token += head / head_peak + backward_seconds(o.scheme.head, 2 * head) + 3.5 * work.attention / peaks.f32;
  return token * static_cast<double>(o.tokens_per_step());
}

Prediction predict(const Options& o, const Peaks& peaks) {
  const model::Config& c = o.config;
  const double parameters = static_cast<double>(c.parameters());
  const double rows = static_cast<double>(o.micro_batch * o.seq);
  const double width = static_cast<double>(c.width), q = static_cast<double>(c.q_width()),
               kv = static_cast<double>(c.kv_width());
  const double mlp = static_cast<double>(c.mlp), layers = static_cast<double>(c.layers);
  // Masters, gradients and two moments in float32; codes as bytes twice (rows and panels) and a bit of mask.
  double weights = parameters * 16;
  // Kept of each block for the backward pass, float32: the stream twice and attention's output; unless they are
  // computed again q, k, v (q and k twice where heads are normed), gate and up; codes with masks of the four inputs, or
  // in formats that read them the inputs themselves.
  const double again = o.recompute ? 0 : q + 2 * kv + 2 * mlp + (c.qk_norm ? q + kv : 0);
  if (o.bits_budget > 0) weights += 8 * static_cast<double>(c.block_parameters());  // masters and decoded, beside
  double kept = layers * rows * 4 * (2 * width + q + again);
  for (const model::TensorSpec& spec : model::tensors(c)) {
    const bool linear = spec.linear();
    const Format f = linear ? o.scheme.word_of(spec.layer, model::kind_of(spec.role)) : o.scheme.format;
    weights += static_cast<double>(spec.elements()) * (f.quantized() ? 2.2 : 4.0);
    // A scale and a sum of codes, for rows and for panels.
    if (linear && f.weight && o.scheme.scale_group)
      weights += 16 * static_cast<double>(spec.elements()) / static_cast<double>(o.scheme.scale_group);
    if (linear && model::input_owner(spec.role) == spec.role)
      kept += rows * (f.quantized() && f.activation ? 1.2 : 4.0) * static_cast<double>(spec.columns);
  }
  const double head = 512.0 * static_cast<double>(c.vocab) * 4 + rows * width * 12;
  const double scratch = rows * std::max({mlp, q, width}) * 4 * 6;
  const double base = 250e6;  // libtorch itself
  Prediction p;
  p.memory_bytes = static_cast<std::int64_t>(base + weights + kept + head + scratch);
  p.disk_bytes = static_cast<std::int64_t>(12 * parameters * static_cast<double>(o.keep + 1));
  // Measured steps reach a third to a half of the peak of their products; small models less.
  constexpr double kUsualShare = 0.35;
  p.seconds_per_step = peak_seconds_per_step(o, peaks) / kUsualShare;
  // Four forward passes for each layer, about the third of a step each, once.
  if (o.bits_budget > 0) p.seconds_per_step *= 1 + (28 * layers + 1) / 3 / static_cast<double>(o.steps);
  return p;
}

}  // namespace lowbit::train
