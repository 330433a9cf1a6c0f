// What decoding gains from large pages and from threads that fetch while they wait (docs/explain/speed.md): random
// weights twice in one process, on small and on large pages, each with and without Executor::soon, interleaved by a few
// tokens. Usage: decode_memory_bench SHAPE FORMAT HEAD TOKENS ROUNDS [THREADS]
#include <sys/prctl.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "lowbit/bench/random_model.h"
#include "lowbit/bench/shapes.h"
#include "lowbit/run/engine.h"

namespace {

using namespace lowbit;

// A pool that hears hints, or does not.
class Pool final : public Executor {
 public:
  Pool(ThreadPool& pool, bool hints) : pool_(pool), hints_(hints) {}
  int threads() const override { return pool_.threads(); }
  void soon(std::span<const MemoryRange> ranges) override {
    if (hints_) pool_.soon(ranges);
  }

 protected:
  void run(std::size_t count, Task task) override {
    pool_.parallel_for(count, [&](std::size_t i) { task(i); });
  }

 private:
  ThreadPool& pool_;
  bool hints_;
};

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2), values.end());
  return values[values.size() / 2];
}

int measure(int argc, char** argv) {
  const auto config = argc >= 6 ? bench::find_shape(argv[1]) : std::nullopt;
  const long tokens = config ? std::atol(argv[4]) : 0, rounds = config ? std::atol(argv[5]) : 0;
  if (tokens < 1 || rounds < 1) {
    std::fprintf(stderr, "usage: decode_memory_bench SHAPE FORMAT HEAD TOKENS ROUNDS [THREADS]\n");
    return 2;
  }
  Scheme scheme = default_scheme(parse_format(argv[2]));
  scheme.head = parse_head(argv[3]);
  ThreadPool pool(argc > 6 ? std::atoi(argv[6]) : available_threads());
  Pool hinted(pool, true), plain(pool, false);
  const auto positions = static_cast<std::size_t>(tokens);
  prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
  const nn::LlamaWeights small = bench::random_llama(plain, *config, scheme, positions, 1);
  prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0);
  const nn::LlamaWeights large = bench::random_llama(plain, *config, scheme, positions, 1);

  run::Engine engines[] = {{plain, small, 1}, {hinted, small, 1}, {plain, large, 1}, {hinted, large, 1}};
  run::Sequence sequence(small, positions);
  std::vector<float> logits(static_cast<std::size_t>(config->vocab));
  const std::vector<std::int32_t> ids = bench::random_tokens(config->vocab, positions, 3);
  std::vector<double> rate[4], ratio[4];
  for (long round = 0; round < rounds; ++round)
    for (std::size_t i = 0; i < 4; ++i) {
      sequence.cut(0);
      const auto begin = std::chrono::steady_clock::now();
      for (const std::int32_t& id : ids) engines[i].feed(sequence, {&id, 1}, logits.data());
      const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
      rate[i].push_back(static_cast<double>(tokens) / seconds.count());
      ratio[i].push_back(rate[i].back() / rate[0].back());
    }
  const char* const names[] = {"small pages", "small pages, fetching", "large pages", "large pages, fetching"};
  for (std::size_t i = 0; i < 4; ++i)
    std::printf("%-24s%8.0f tok/s%8.3f of the first\n", names[i], median(rate[i]), median(ratio[i]));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return measure(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "decode_memory_bench: %s\n", error.what());
    return 2;
  }
}
