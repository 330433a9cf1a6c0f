#include "lowbit/train/measure_step.h"

#include <algorithm>
#include <span>
#include <vector>

#include "lowbit/autograd/llama.h"
#include "lowbit/bench/random_model.h"
#include "lowbit/machine/peak.h"
#include "lowbit/train/optimizer.h"
#include "lowbit/train/predict.h"

namespace lowbit::train {
StepSpeed measure_step(Executor& executor, CeilingMeter& meter, const Options& o, int rounds) {
  const Peaks peaks = measure_peaks(executor);
  bench::require_memory(static_cast<double>(predict(o, peaks).memory_bytes), "the training step");
  autograd::Llama llama(executor, o.config, o.scheme, o.backward, static_cast<std::size_t>(o.seq));
  if (o.gain_lr > 0) llama.add_gains();
  AdamW optimizer(executor, llama, AdamWOptions{o.beta1, o.beta2, o.eps, o.weight_decay, o.clip, o.gain_lr});
  llama.initialize(o.seed);
  llama.refresh();
  llama.set_recompute(o.recompute);
  const auto rows = static_cast<std::size_t>(o.tokens_per_step());
  const auto micro = static_cast<std::size_t>(o.micro_batch * o.seq);
  const std::vector<std::int32_t> ids = bench::random_tokens(o.config.vocab, rows + 1, o.seed);
  std::vector<double> losses(rows);
  std::int64_t step = 0;
  const auto work = [&] {
    llama.zero_gradients();
    for (std::size_t at = 0; at < rows; at += micro) {
      const std::size_t n = std::min(micro, rows - at);
      llama.set_draws({o.seed, static_cast<std::uint64_t>(step), at / micro});
      llama.accumulate(std::span(ids).subspan(at, n), std::span(ids).subspan(at + 1, n),
                       static_cast<std::size_t>(o.seq), 1.0f / static_cast<float>(rows),
                       std::span(losses).subspan(at, n));
    }
    optimizer.update(++step, o.lr);
    llama.refresh();
  };
  // In bfloat16 operations, so that the ceiling beside it is one: what the products take at their own units' peaks.
  const double amount = peak_seconds_per_step(o, peaks) * peaks.bf16;
  StepSpeed speed;
  speed.beside = bench::measure_beside(executor, meter, Ceiling::bf16, rounds, amount, work);
  speed.tokens_per_second = bench::rate_of(speed.beside.seconds, static_cast<double>(rows));
  return speed;
}

}  // namespace lowbit::train
