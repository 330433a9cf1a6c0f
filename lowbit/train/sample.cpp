#include "lowbit/train/sample.h"

#include <algorithm>
#include <vector>

#include "lowbit/base/interrupt.h"
#include "lowbit/run/engine.h"
#include "lowbit/run/sampler.h"

namespace lowbit::train {

std::string draw_sample(Executor& executor, const nn::LlamaWeights& weights, const text::Tokenizer& tokenizer,
                        std::size_t tokens, std::uint64_t seed, std::uint64_t step) {
  const auto vocab = static_cast<std::size_t>(weights.config.vocab);
  run::Engine engine(executor, weights, 1);
  run::Sequence sequence(weights, std::min(tokens + 1, weights.rope.positions));
  run::SamplerOptions options;
  options.temperature = 0.8;
  options.top_p = 0.95;
  options.seed = seed;
  run::Sampler sampler(options, vocab);
  std::vector<float> logits(vocab);
  std::vector<text::TokenId> drawn;
  auto token = static_cast<std::int32_t>(tokenizer.bos().value_or(0));
  while (sequence.length() < sequence.capacity() && drawn.size() < tokens) {
    check_interrupt("stopped within a sample");
    engine.feed(sequence, {&token, 1}, logits.data());
    token = sampler.choose(logits, sequence.length() | step << 32);
    // A model may have more ids than its tokenizer; those stand for no text.
    if (static_cast<std::size_t>(token) >= tokenizer.vocabulary() || weights.config.ends_text(token) ||
        (tokenizer.eos() && static_cast<text::TokenId>(token) == *tokenizer.eos()))
      break;
    drawn.push_back(static_cast<text::TokenId>(token));
  }
  return tokenizer.decode(drawn);
}

}  // namespace lowbit::train
