#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "lowbit/base/error.h"
#include "lowbit/bench/generation.h"
#include "lowbit/bench/products.h"
#include "lowbit/bench/random_model.h"
#include "lowbit/bench/shapes.h"

namespace lowbit::bench {
namespace {

model::Config tiny() {
  model::Config c = *find_shape("64x2x2x1x96x40");
  c.positions = 64;
  return c;
}

TEST(Shapes, TheNamedOnesHaveThePublishedParameters) {
  EXPECT_NEAR(static_cast<double>(find_shape("smollm2-135m")->parameters()), 134.5e6, 0.1e6);
  EXPECT_NEAR(static_cast<double>(find_shape("llama-1b")->parameters()), 1100e6, 1e6);
  EXPECT_NEAR(static_cast<double>(find_shape("107m")->parameters()), 107e6, 1e6);
  for (const std::string& name : shape_names()) EXPECT_TRUE(find_shape(name)) << name;
  for (const model::Config& c : {*find_shape("llama-1b"), *find_shape("4m")}) {
    std::int64_t weights = 0;
    for (const LayerShape& layer : layer_shapes(c, default_scheme(parse_format("w4a4"))))
      weights += static_cast<std::int64_t>(layer.n * layer.k * layer.count);
    EXPECT_EQ(weights, c.block_parameters() + c.vocab * c.width);
  }
}

TEST(Shapes, SixNumbersOrNothing) {
  const auto c = find_shape("64x2x4x2x96x40");
  ASSERT_TRUE(c);
  EXPECT_EQ(c->width, 64);
  EXPECT_EQ(c->layers, 2);
  EXPECT_EQ(c->heads, 4);
  EXPECT_EQ(c->head_dim, 16);
  EXPECT_EQ(c->kv_heads, 2);
  EXPECT_EQ(c->mlp, 96);
  EXPECT_EQ(c->vocab, 40);
  EXPECT_FALSE(c->tied);
  for (const char* wrong : {"", "64", "64x2x4x2x96", "64x2x4x2x96x40x1", "64x2x4x2x96x", "0x2x4x2x96x40",
                            "ax2x4x2x96x40", "64x2x4x2x96x40 ", "64x2x4x2x96x99999999999999999999"})
    EXPECT_FALSE(find_shape(wrong)) << wrong;
}

std::vector<float> logits_of(const nn::LlamaWeights& weights, Executor& executor) {
  run::Engine engine(executor, weights, 8);
  run::Sequence sequence(weights, 8);
  const std::vector<std::int32_t> ids{1, 2, 3, 39};
  std::vector<float> logits(4 * 40);
  engine.feed_all(sequence, ids, logits.data());
  return logits;
}

TEST(RandomModel, ASeedGivesTheSameModelWhateverTheThreads) {
  SerialExecutor alone;
  ThreadPool two(2);
  for (const char* format : {"w4a4", "w1.58a8", "w1a1", "w3a16", "bf16", "f32"}) {
    SCOPED_TRACE(format);
    const Scheme scheme = default_scheme(parse_format(format));
    const auto first = logits_of(random_llama(alone, tiny(), scheme, 64, 5), alone);
    EXPECT_EQ(first, logits_of(random_llama(two, tiny(), scheme, 64, 5), two));
    EXPECT_NE(first, logits_of(random_llama(two, tiny(), scheme, 64, 6), two));
    double squares = 0;
    for (const float x : first) {
      ASSERT_TRUE(std::isfinite(x));
      squares += x * x;
    }
    EXPECT_NEAR(squares / static_cast<double>(first.size()), 1, 0.7) << "activations stay in range";
  }
}

TEST(RandomModel, TheKernelDoesNotChangeTheLogits) {
  ThreadPool two(2);
  for (const char* format : {"w1a1", "w1a2", "w2a1", "w2a2", "w1.58a2", "w4a4"}) {
    SCOPED_TRACE(format);
    Scheme scheme = default_scheme(parse_format(format));
    scheme.head = parse_head("w8a8");
    std::vector<std::vector<float>> logits;
    for (const nn::Kernel& kernel : nn::kernel_table()) {
      if (!kernel.serves(scheme.format) || !kernel.runs(active_isa())) continue;
      nn::force_kernel(kernel.name, scheme.format);
      const auto weights = random_llama(two, tiny(), scheme, 64, 5);
      EXPECT_EQ(weights.blocks[0].down.kernel().id, kernel.id);
      EXPECT_TRUE(weights.head.kernel().serves(scheme.head));
      logits.push_back(logits_of(weights, two));
    }
    nn::force_kernel("", {});
    EXPECT_GE(logits.size(), 2u);
    for (const auto& other : logits) EXPECT_EQ(other, logits[0]);
  }
}

TEST(RandomModel, MoreThanThereIsIsRefusedBeforeItIsTaken) {
  require_memory(1, "a byte");
  try {
    require_memory(1e18, "the whole world");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), 2);
    EXPECT_NE(std::string(error.what()).find("the whole world takes about"), std::string::npos);
  }
}

TEST(Engine, SequencesFedTogetherHaveTheBitsOfEachAlone) {
  ThreadPool two(2);
  for (const char* format : {"w4a4", "w1a1", "bf16", "f32"}) {
    SCOPED_TRACE(format);
    const auto weights = random_llama(two, tiny(), default_scheme(parse_format(format)), 64, 5);
    run::Engine together(two, weights, 4), alone(two, weights, 4);
    const std::vector<std::vector<std::int32_t>> prompts{{1, 2, 3}, {4}, {5, 6, 7, 8, 9}};
    std::vector<run::Sequence> batch, single;
    batch.reserve(3), single.reserve(3);
    std::vector<run::Sequence*> all;
    std::vector<float> one(40), each(3 * 40);
    for (const auto& prompt : prompts) {
      for (auto* sequences : {&batch, &single}) {
        sequences->emplace_back(weights, 16);
        alone.feed(sequences->back(), prompt, one.data());
      }
    }
    for (run::Sequence& s : batch) all.push_back(&s);
    for (int step = 0; step < 4; ++step) {
      const std::vector<std::int32_t> ids{step, step + 10, step + 20};
      together.feed_each(all, ids, each.data());
      for (std::size_t i = 0; i < 3; ++i) {
        alone.feed(single[i], {&ids[i], 1}, one.data());
        EXPECT_TRUE(std::equal(one.begin(), one.end(), each.begin() + static_cast<std::ptrdiff_t>(i * 40)));
        EXPECT_EQ(batch[i].length(), single[i].length());
      }
    }
    EXPECT_THROW(together.feed_each(all, std::vector<std::int32_t>{1, 2, 40}, each.data()), Error) << "no such token";
  }
}

TEST(Measuring, PrefillAndDecodeCountWhatTheySay) {
  SerialExecutor alone;
  CeilingMeter meter(alone, 0.001);
  const model::Config config = tiny();
  const auto weights = random_llama(alone, config, default_scheme(parse_format("w8a8")), 64, 5);
  const Speed prefill = measure_prefill(alone, meter, weights, 32, 16, 2);
  EXPECT_EQ(prefill.bound, Ceiling::int8);
  EXPECT_DOUBLE_EQ(prefill.amount_per_token, 2.0 * static_cast<double>(config.block_parameters()));
  EXPECT_GT(prefill.tokens_per_second.median, 0);
  EXPECT_GT(prefill.beside.share.median, 0);
  const Speed one = measure_decode(alone, meter, weights, 4, 8, 1, 2),
              three = measure_decode(alone, meter, weights, 4, 8, 3, 2);
  EXPECT_GE(one.bound, Ceiling::l1);
  EXPECT_GT(one.amount_per_token, 40.0 * 64 * 2) << "at least the head in bfloat16";
  EXPECT_LT(three.amount_per_token, one.amount_per_token) << "the weights are read once for all sequences";
  EXPECT_THROW(measure_prefill(alone, meter, weights, 65, 16, 1), Error);
}

TEST(Measuring, AProductIsBoundByWhatTheModelSays) {
  SerialExecutor alone;
  CeilingMeter meter(alone, 0.001);
  const Rates rates = typical_rates(active_isa(), 1);
  const Format format = parse_format("w4a4");
  const model::TensorCoding coding{format, 64, 64, {format.weight, 1}, {format.activation, 1}};
  const MeasuredProduct m = measure_product(alone, meter, rates, {64, 64, 128, format, 0}, coding, 2, 1);
  EXPECT_EQ(m.bound, m.choice.estimate.bound());
  EXPECT_GT(m.beside.share.median, 0);
  EXPECT_GT(m.beside.seconds.median, 0);
}

}  // namespace
}  // namespace lowbit::bench
