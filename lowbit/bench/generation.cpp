#include "lowbit/bench/generation.h"

#include <algorithm>

#include "lowbit/bench/random_model.h"

namespace lowbit::bench {
namespace {

constexpr std::uint64_t kSeed = 11;

double value_bytes(AttentionFormat attention) { return attention == AttentionFormat::bf16 ? 2 : 4; }

double weight_bytes(const nn::LlamaWeights& w) {
  std::size_t bytes = w.head.bytes();
  for (const nn::BlockWeights& b : w.blocks)
    for (const nn::LinearWeights* l : b.linears()) bytes += l->bytes();
  return static_cast<double>(bytes);
}

}  // namespace

Speed measure_prefill(Executor& executor, CeilingMeter& meter, const nn::LlamaWeights& weights, std::size_t tokens,
                      std::size_t chunk, int rounds) {
  run::Engine engine(executor, weights, std::min(tokens, chunk));
  run::Sequence sequence(weights, tokens);
  const std::vector<std::int32_t> ids = random_tokens(weights.config.vocab, tokens, kSeed);
  std::vector<float> logits(static_cast<std::size_t>(weights.config.vocab));
  Speed speed;
  // Layers may differ in their kernels, those of one format too; most of the work is in the MLP.
  const auto unit_of = [](const nn::LinearWeights& l) { return l.kernel().unit(l.coding().format); };
  speed.bound = unit_of(weights.blocks.front().gate);
  for (const nn::BlockWeights& b : weights.blocks)
    for (const nn::LinearWeights* l : b.linears()) {
      // Where layers multiply in other units, as if they had these.
      const nn::LinearWeights& as = unit_of(*l) == speed.bound ? *l : weights.blocks.front().gate;
      speed.amount_per_token += as.kernel().operations(as.coding().format) * static_cast<double>(l->n() * l->k());
    }
  const auto count = static_cast<double>(tokens);
  speed.beside = measure_beside(executor, meter, speed.bound, rounds, speed.amount_per_token * count, [&] {
    sequence.cut(0);
    engine.feed(sequence, ids, logits.data());
  });
  speed.tokens_per_second = rate_of(speed.beside.seconds, count);
  return speed;
}

Speed measure_decode(Executor& executor, CeilingMeter& meter, const nn::LlamaWeights& weights, std::size_t tokens,
                     std::size_t context, std::size_t batch, int rounds) {
  const model::Config& c = weights.config;
  run::Engine engine(executor, weights, std::max<std::size_t>(batch, std::min<std::size_t>(context, 256)));
  std::vector<run::Sequence> sequences;
  std::vector<run::Sequence*> all;
  sequences.reserve(batch);
  std::vector<float> logits(batch * static_cast<std::size_t>(c.vocab));
  const std::vector<std::int32_t> before = random_tokens(weights.config.vocab, context, kSeed),
                                  ids = random_tokens(weights.config.vocab, tokens * batch, kSeed);
  for (std::size_t i = 0; i < batch; ++i) {
    sequences.emplace_back(weights, context + tokens);
    if (context > 0) engine.feed(sequences.back(), before, logits.data());
  }
  for (run::Sequence& sequence : sequences) all.push_back(&sequence);

  // Keys and values of half the tokens on average, beside those of the context.
  const double positions = static_cast<double>(context) + static_cast<double>(tokens + 1) / 2;
  const double keys =
      2.0 * static_cast<double>(c.layers * c.kv_width()) * positions * value_bytes(weights.scheme.attention);
  const double step_bytes = weight_bytes(weights) + keys * static_cast<double>(batch);
  Speed speed;
  speed.bound = level_of(typical_rates(active_isa(), executor.threads()), step_bytes);
  speed.amount_per_token = step_bytes / static_cast<double>(batch);
  const double count = static_cast<double>(tokens * batch);
  speed.beside = measure_beside(executor, meter, speed.bound, rounds, speed.amount_per_token * count, [&] {
    for (run::Sequence& sequence : sequences) sequence.cut(context);
    for (std::size_t t = 0; t < tokens; ++t)
      engine.feed_each(all, std::span(ids).subspan(t * batch, batch), logits.data());
  });
  speed.tokens_per_second = rate_of(speed.beside.seconds, count);
  return speed;
}

double generation_bytes(const model::Config& c, AttentionFormat attention, std::size_t positions, std::size_t rows,
                        std::size_t batch) {
  const double keys = 2.0 * static_cast<double>(c.layers * c.kv_width()) * value_bytes(attention) *
                      static_cast<double>(positions) * static_cast<double>(batch);
  const double row = 4.0 * static_cast<double>(6 * c.width + 3 * c.q_width() + 2 * c.kv_width() + 5 * c.mlp);
  return keys + row * static_cast<double>(rows) + 4.0 * static_cast<double>(c.vocab) * static_cast<double>(batch);
}

}  // namespace lowbit::bench
