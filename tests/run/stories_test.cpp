#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <sstream>

#include "lowbit/files/json.h"
#include "lowbit/kernels/elementwise.h"
#include "lowbit/kernels/reference.h"
#include "lowbit/nn/load.h"
#include "lowbit/run/engine.h"
#include "lowbit/run/sampler.h"
#include "lowbit/text/tokenizer.h"
#include "support/data.h"

// A small trained Llama (Karpathy's stories260K) against a float64 reference: golden.json beside it.
namespace lowbit {
namespace {

std::filesystem::path folder() { return test::data_folder() / "models" / "stories260K"; }

struct Stories {
  ThreadPool pool{2};
  nn::LlamaWeights weights = nn::load_llama(pool, model::ModelFolder(folder()), 512);
  text::Tokenizer tokenizer = text::Tokenizer::load(folder() / "tok512.bin");
  files::Json golden = files::read_json(folder() / "golden.json");
};

std::vector<std::int32_t> ids_of(const files::Json& list) { return list.get<std::vector<std::int32_t>>(); }

TEST(Stories260K, WritesTheGreedyTokensAndTopTenLogitsOfTheFloat64Reference) {
  LOWBIT_NEEDS_DATA();
  Stories s;
  run::Engine engine(s.pool, s.weights, 64);
  std::vector<float> logits(512);
  for (const files::Json& prompt : s.golden.at("prompts")) {
    const auto tokens = ids_of(prompt.at("prompt_tokens"));
    std::vector<std::int32_t> encoded;
    for (const text::TokenId id : s.tokenizer.encode_document(prompt.at("prompt").get<std::string>()))
      encoded.push_back(static_cast<std::int32_t>(id));
    EXPECT_EQ(encoded, tokens);
    run::Sequence sequence(s.weights, 512);
    run::Sampler greedy({}, 512);
    engine.feed(sequence, tokens, logits.data());
    for (const auto& [key, value] : prompt.items()) {
      if (!key.starts_with("top")) continue;
      for (const files::Json& entry : value) {
        const auto id = entry.at(0).get<std::size_t>();
        EXPECT_NEAR(logits[id], entry.at(1).get<double>(), 1e-3) << "token " << id;
      }
    }
    for (const std::int32_t wanted : ids_of(prompt.at("greedy_tokens"))) {
      const std::int32_t token = greedy.choose(logits, sequence.length());
      ASSERT_EQ(token, wanted) << "at position " << sequence.length();
      engine.feed(sequence, {&token, 1}, logits.data());
    }
  }
}

TEST(Stories260K, HasTheMeanLossOfTheFloat64Reference) {
  LOWBIT_NEEDS_DATA();
  Stories s;
  std::ifstream file(test::data_folder() / "corpora" / "tinystories-sample.txt");
  std::stringstream text;
  text << file.rdbuf();
  // golden.json's cut: paragraphs joined by blank lines until a piece has at least 900 characters.
  std::vector<std::string> chunks;
  std::string chunk, all = text.str();
  for (std::size_t at = 0; at <= all.size();) {
    std::size_t end = std::min(all.find("\n\n", at), all.size());
    const std::string paragraph = all.substr(at, end - at);
    at = end + 2;
    if (paragraph.find_first_not_of(" \n\r\t") == std::string::npos) continue;
    chunk += (chunk.empty() ? "" : "\n\n") + paragraph;
    const auto characters = std::count_if(chunk.begin(), chunk.end(),
                                          [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
    if (characters >= 900) {
      chunks.push_back(chunk);
      chunk.clear();
    }
  }
  if (!chunk.empty()) chunks.push_back(chunk);
  run::Engine engine(s.pool, s.weights, 512);
  double nats = 0;
  std::int64_t predicted = 0;
  std::vector<float> logits(512 * 512);
  for (const std::string& piece : chunks) {
    std::vector<std::int32_t> ids;
    for (const text::TokenId id : s.tokenizer.encode_document(piece)) ids.push_back(static_cast<std::int32_t>(id));
    if (ids.size() > 512) ids.resize(512);
    run::Sequence sequence(s.weights, 512);
    engine.feed_all(sequence, ids, logits.data());
    for (std::size_t i = 0; i + 1 < ids.size(); ++i)
      nats += kernels::reference::cross_entropy_row<float>({logits.data() + i * 512, 512},
                                                           static_cast<std::size_t>(ids[i + 1]));
    predicted += static_cast<std::int64_t>(ids.size()) - 1;
  }
  const files::Json& golden = s.golden.at("tinystories_nll");
  EXPECT_EQ(static_cast<std::int64_t>(chunks.size()), golden.at("chunks").get<std::int64_t>());
  EXPECT_EQ(predicted, golden.at("predicted_tokens").get<std::int64_t>());
  EXPECT_NEAR(nats / static_cast<double>(predicted), golden.at("nats_per_token").get<double>(), 1e-5);
}

}  // namespace
}  // namespace lowbit
