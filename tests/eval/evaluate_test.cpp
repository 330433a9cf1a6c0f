#include "lowbit/eval/evaluate.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "lowbit/base/rng.h"

// Losses are made up here, so that every figure has a closed form.
namespace lowbit::eval {
namespace {

constexpr double kLn2 = 0.6931471805599453;

/// Tokens 0, 1, 2, ... with a loss each.
struct Text {
  std::vector<double> losses;  // of the token at each place; that of the first is never asked for
  std::vector<std::uint64_t> starts, bytes;
  std::vector<std::size_t> windows = {};  // sizes of the windows asked for

  TokenStream stream() const {
    TokenStream stream;
    stream.tokens = losses.size();
    stream.copy = [](std::uint64_t begin, std::span<std::int32_t> out) {
      for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<std::int32_t>(begin + i);
    };
    stream.document_starts = starts;
    stream.document_bytes = bytes;
    return stream;
  }
  Losses model() {
    return [this](auto ids, auto targets, std::size_t n, auto out) {
      for (std::size_t i = 0; i < ids.size(); ++i) {
        if (i % n == 0) windows.push_back(n);
        EXPECT_EQ(targets[i], ids[i] + 1);
        out[i] = losses[static_cast<std::size_t>(targets[i])];
      }
    };
  }
};

Text numbered(std::size_t tokens) {
  Text text;
  for (std::size_t i = 0; i < tokens; ++i) text.losses.push_back(0.25 * static_cast<double>(i % 7) + 1);
  return text;
}

TEST(Evaluate, EachTokenButTheFirstIsPredictedOnceInWindowsOfTheLengthAsked) {
  Text text = numbered(30);
  const Evaluation e = evaluate(text.stream(), text.model(), {.length = 8, .windows_at_once = 2});
  EXPECT_EQ(text.windows, (std::vector<std::size_t>{8, 8, 8, 5}));
  double sum = 0;
  for (std::size_t i = 1; i < 30; ++i) sum += text.losses[i];
  EXPECT_EQ(e.tokens, 29);
  EXPECT_NEAR(e.nats_per_token, sum / 29, 1e-15);
  EXPECT_FALSE(e.bits_per_byte);
  EXPECT_EQ(e.interval_over, "windows");
  EXPECT_EQ(e.units, 4);
}

TEST(Evaluate, BitsPerByteAreAllLossesOverTheTextsBytesHoweverWindowsCutDocuments) {
  Text text = numbered(20);
  text.starts = {0, 3, 11};
  text.bytes = {10, 50, 40};
  double sum = 0;
  for (std::size_t i = 1; i < 20; ++i) sum += text.losses[i];
  for (const std::size_t length : {1, 2, 3, 5, 19, 100}) {
    const Evaluation e = evaluate(text.stream(), text.model(), {.length = length});
    EXPECT_EQ(e.bytes, 100) << length;
    EXPECT_NEAR(*e.bits_per_byte, sum / kLn2 / 100, 1e-14) << length;
    EXPECT_EQ(e.interval_over, "documents");
    EXPECT_EQ(e.units, 3);
  }
}

TEST(Evaluate, ADocumentInPartCountsThatShareOfItsBytes) {
  Text text = numbered(20);
  text.starts = {0, 5};
  text.bytes = {40, 150};
  // 10 tokens are predicted: 1 to 4 of the first document, and 5 to 10 of the second, which has 15.
  const Evaluation e = evaluate(text.stream(), text.model(), {.length = 10, .most_tokens = 7});
  EXPECT_EQ(e.tokens, 10);
  EXPECT_EQ(e.bytes, 40 + 60);
}

TEST(Evaluate, LossesBelongToTheDocumentOfTheTokenThatIsPredicted) {
  // Two documents of constant losses 1 and 3 with equal sizes: a resample holds the first one 0, 1 or 2 times with
  // chances 1/4, 1/2, 1/4, so the 95 % interval is the range of both means.
  Text text;
  text.losses.assign(21, 1.0);
  text.starts = {0, 11};
  text.bytes = {10, 10};
  for (std::size_t i = 11; i < 21; ++i) text.losses[i] = 3;
  const Evaluation e = evaluate(text.stream(), text.model(), {.length = 4});
  EXPECT_EQ(e.nats_per_token, 2);
  EXPECT_EQ(e.nats_interval.low, 1);
  EXPECT_EQ(e.nats_interval.high, 3);
  EXPECT_NEAR(e.bits_interval->low, 1 / kLn2, 1e-15);
  EXPECT_NEAR(e.bits_interval->high, 3 / kLn2, 1e-15);
}

TEST(Evaluate, TheIntervalOfManyDocumentsIsThatOfTheNormalLaw) {
  // 400 documents of 5 tokens with a loss each that is drawn from [1, 3]: the mean's standard error is
  // sqrt((1/400) variance), and the 95 % interval 1.96 of it on both sides. 4,000 resamples know it to about 4 %.
  Text text;
  const Rng rng(5);
  const std::size_t documents = 400;
  std::vector<double> means;
  for (std::size_t d = 0; d < documents; ++d) {
    text.starts.push_back(text.losses.size());
    text.bytes.push_back(20);
    means.push_back(1 + 2 * rng.uniform(d));
    for (int i = 0; i < 5; ++i) text.losses.push_back(means.back());
  }
  const Evaluation e = evaluate(text.stream(), text.model(), {.length = 64, .resamples = 4000});
  double mean = 0, squares = 0;
  for (const double m : means) mean += m / documents;
  for (const double m : means) squares += (m - mean) * (m - mean) / documents;
  const double error = std::sqrt(squares / documents);
  EXPECT_NEAR(e.nats_per_token, mean, 1e-3);  // the first token of all is given
  EXPECT_NEAR((e.nats_interval.high - e.nats_interval.low) / 2, 1.96 * error, 0.06 * 1.96 * error);
  EXPECT_NEAR((e.nats_interval.high + e.nats_interval.low) / 2, mean, 0.15 * error);
  EXPECT_EQ(e.units, 400);
}

TEST(Evaluate, TheFirstTokensAreToldAsAnEvaluationOfThemAloneWouldTellThem) {
  Text text = numbered(1000);
  text.starts = {0, 90, 350, 700};
  text.bytes = {400, 900, 1500, 1000};
  for (const std::int64_t some : {1, 64, 100, 448, 900, 5000}) {
    EvaluationOptions options{.length = 64, .windows_at_once = 8, .most_tokens = some};
    const Evaluation alone = evaluate(text.stream(), text.model(), options);
    options.most_tokens = 0;
    options.first_tokens = some;
    const Evaluation whole = evaluate(text.stream(), text.model(), options);
    EXPECT_EQ(whole.tokens, 999);
    ASSERT_TRUE(whole.first);
    EXPECT_EQ(whole.first->tokens, alone.tokens);
    EXPECT_EQ(whole.first->nats_per_token, alone.nats_per_token);
    EXPECT_EQ(whole.first->bits_per_byte, alone.bits_per_byte);
  }
  EXPECT_FALSE(evaluate(text.stream(), text.model(), {.length = 64}).first);
}

TEST(Evaluate, TheFirstOfWindowsThatStandApartAreToldToo) {
  const auto get = [](std::uint64_t w, auto ids, auto targets) {
    for (std::size_t i = 0; i < ids.size(); ++i) {
      ids[i] = static_cast<std::int32_t>(w);
      targets[i] = static_cast<std::int32_t>(w);
    }
  };
  const Losses losses = [](auto, auto targets, std::size_t, auto out) {
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = 1 + targets[i];
  };
  const Evaluation e = evaluate_windows(10, get, losses, {.length = 4, .windows_at_once = 4, .first_tokens = 9});
  EXPECT_EQ(e.nats_per_token, 5.5);
  EXPECT_EQ(e.first->tokens, 12);
  EXPECT_EQ(e.first->nats_per_token, 2);
}

TEST(Evaluate, ALossThatIsNotFiniteIsFoundAndGivesNoInterval) {
  for (const double bad : {std::nan(""), static_cast<double>(INFINITY), static_cast<double>(-INFINITY)}) {
    Text text = numbered(40);
    text.starts = {0, 20};
    text.bytes = {50, 50};
    text.losses[18] = bad;
    const Evaluation e = evaluate(text.stream(), text.model(), {.length = 8});
    EXPECT_EQ(e.first_not_finite, 17);
    EXPECT_FALSE(std::isfinite(e.nats_per_token));
    EXPECT_TRUE(std::isnan(e.nats_interval.low) && std::isnan(e.nats_interval.high));
  }
}

TEST(Evaluate, BitsPerByteAreRefusedWhereMoreThanOnePercentOfTheTokensIsUnknown) {
  // Token 7 comes once among the predicted ones, so 100 of them have a share of 1 %.
  for (const std::size_t tokens : {100, 101}) {
    Text text = numbered(tokens);
    text.starts = {0};
    text.bytes = {400};
    const Evaluation e = evaluate(text.stream(), text.model(), {.length = 16, .unknown = 7});
    EXPECT_EQ(e.unknown_tokens, 1);
    EXPECT_EQ(e.bits_refused, tokens == 100);
    EXPECT_EQ(e.bits_per_byte.has_value(), tokens == 101);
    EXPECT_EQ(e.bits_interval.has_value(), tokens == 101);
    EXPECT_EQ(e.bytes, 400);
  }
}

}  // namespace
}  // namespace lowbit::eval
