// What sampling leaves of the speed of greedy decoding (docs/lab/results.md): one random model, its tokens chosen
// greedily and with each filter, interleaved. A random model's logits are nearly flat, so that a nucleus holds most of
// the vocabulary. Usage: sampler_bench SHAPE FORMAT HEAD TOKENS ROUNDS [THREADS]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "lowbit/bench/random_model.h"
#include "lowbit/bench/shapes.h"
#include "lowbit/run/engine.h"
#include "lowbit/run/sampler.h"

namespace {

using namespace lowbit;
using Clock = std::chrono::steady_clock;

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2), values.end());
  return values[values.size() / 2];
}

struct Way {
  const char* name;
  run::SamplerOptions options;
};
constexpr Way kWays[] = {
    {"greedy", {}},
    {"temperature 0.8", {0.8}},
    {"top-k 40", {0.8, 40}},
    {"top-k 5000", {0.8, 5000}},
    {"top-p 0.95", {0.8, 0, 0.95}},
    {"top-p 0.3", {0.8, 0, 0.3}},
    {"min-p 0.05", {0.8, 0, 1, 0.05}},
    {"repetition penalty 1.1", {0.8, 0, 1, 0, 1.1}},
    {"all, top-k 40", {0.8, 40, 0.95, 0.05, 1.1}},
    {"all, top-k 5000", {0.8, 5000, 0.95, 0.05, 1.1}},
};

int measure(int argc, char** argv) {
  const auto config = argc >= 6 ? bench::find_shape(argv[1]) : std::nullopt;
  const long tokens = config ? std::atol(argv[4]) : 0, rounds = config ? std::atol(argv[5]) : 0;
  if (tokens < 1 || rounds < 1) {
    std::fprintf(stderr, "usage: sampler_bench SHAPE FORMAT HEAD TOKENS ROUNDS [THREADS]\n");
    return 2;
  }
  Scheme scheme = default_scheme(parse_format(argv[2]));
  scheme.head = parse_head(argv[3]);
  ThreadPool pool(argc > 6 ? std::atoi(argv[6]) : available_threads());
  const auto positions = static_cast<std::size_t>(tokens);
  const nn::LlamaWeights weights = bench::random_llama(pool, *config, scheme, positions, 1);
  run::Engine engine(pool, weights, 1);
  run::Sequence sequence(weights, positions);
  std::vector<float> logits(static_cast<std::size_t>(config->vocab));
  constexpr std::size_t kCount = std::size(kWays);
  std::vector<run::Sampler> samplers;
  for (const Way& way : kWays) samplers.emplace_back(way.options, logits.size(), &pool);
  std::vector<double> rate[kCount], ratio[kCount], choosing[kCount];
  for (long round = -1; round < rounds; ++round)  // the first warms up
    for (std::size_t i = 0; i < kCount; ++i) {
      sequence.cut(0);
      std::int32_t token = 1;
      double seconds = 0;
      const auto begin = Clock::now();
      for (long t = 0; t < tokens; ++t) {
        samplers[i].see(token);
        engine.feed(sequence, {&token, 1}, logits.data());
        const auto fed = Clock::now();
        token = samplers[i].choose(logits, static_cast<std::uint64_t>(t));
        seconds += std::chrono::duration<double>(Clock::now() - fed).count();
      }
      const double whole = std::chrono::duration<double>(Clock::now() - begin).count();
      if (round < 0) continue;
      rate[i].push_back(static_cast<double>(tokens) / whole);
      ratio[i].push_back(rate[i].back() / rate[0].back());
      choosing[i].push_back(1e6 * seconds / static_cast<double>(tokens));
    }
  for (std::size_t i = 0; i < kCount; ++i)
    std::printf("%-24s%8.0f tok/s%8.3f of greedy%8.1f us to choose\n", kWays[i].name, median(rate[i]), median(ratio[i]),
                median(choosing[i]));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return measure(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "sampler_bench: %s\n", error.what());
    return 2;
  }
}
