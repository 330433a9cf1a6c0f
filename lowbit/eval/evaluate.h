#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "lowbit/files/token_shard.h"

// Quality of a model on held-out tokens, over any "tokens to losses" function, so that trainer and runtime are scored
// by the same code.
namespace lowbit::eval {

struct Interval {
  double low = 0, high = 0;
};

struct Evaluation {
  double nats_per_token = 0;
  Interval nats_interval;               ///< 95 %, bootstrap
  std::optional<double> bits_per_byte;  ///< null where the data has no byte lengths
  std::optional<Interval> bits_interval;
  std::int64_t tokens = 0;                       ///< predicted
  std::optional<std::int64_t> bytes;             ///< of text that they stand for
  std::string_view interval_over;                ///< "documents" or "windows": what was resampled
  std::int64_t units = 0;                        ///< how many of those
  std::int64_t unknown_tokens = 0;               ///< of the tokens, how many are EvaluationOptions::unknown
  bool bits_refused = false;                     ///< so many that bits per byte, which is null then, would mean nothing
  std::optional<std::int64_t> first_not_finite;  ///< the first predicted token whose loss is NaN or infinite, from 0
  /// The same over the first tokens alone (EvaluationOptions::first_tokens).
  struct First {
    double nats_per_token = 0;
    std::optional<double> bits_per_byte;
    std::int64_t tokens = 0;
  };
  std::optional<First> first;
  double perplexity() const;  ///< exp(nats_per_token)
};

/// Bits per byte are refused where more than this share of the tokens is <unk>. What stands behind <unk> is not coded
/// by the model, so those bytes count as text but their bits do not: at 1 % of the tokens, bits per byte read too low
/// by about that share, which is as much as formats differ.
inline constexpr double kMostUnknown = 0.01;

/// Losses of whole windows: ids, targets, losses are [windows * n], n tokens a window, each from position 0.
using Losses = std::function<void(std::span<const std::int32_t> ids, std::span<const std::int32_t> targets,
                                  std::size_t n, std::span<double> losses)>;

struct EvaluationOptions {
  std::size_t length = 0;  ///< tokens of a window
  std::size_t windows_at_once = 8;
  std::int64_t most_tokens = 0;   ///< stop after about this many, whole windows; 0: all
  std::int64_t first_tokens = 0;  ///< also tell the losses of about so many at the beginning, whole windows; 0: no
  std::optional<std::int32_t> unknown;  ///< the id of <unk>, to be counted
  double bytes_per_token = 0;           ///< for data without byte lengths; 0: not known
  std::uint64_t seed = 0;               ///< of the bootstrap
  int resamples = 1000;
  std::function<void(std::int64_t done, std::int64_t total)> progress;  ///< tokens
};

/// A row of tokens and where its documents begin.
struct TokenStream {
  std::uint64_t tokens = 0;
  std::function<void(std::uint64_t begin, std::span<std::int32_t> out)> copy;
  std::span<const std::uint64_t> document_starts;  ///< ascending from 0; empty: not known
  std::span<const std::uint64_t> document_bytes;
};
TokenStream stream_of(const files::TokenShard& shard);

/// Every token but the first is predicted once, in windows of `length` that follow each other (the last may be
/// shorter), documents concatenated as in training. A token's loss belongs to its document. Bits per byte is the sum of
/// all losses over ln 2 times the text's bytes. The interval resamples documents, or windows where fewer than two are
/// known; it is NaN where a loss is. throws Error(input): fewer than two tokens.
Evaluation evaluate(const TokenStream& stream, const Losses& losses, const EvaluationOptions& options);

/// Windows that stand apart: get(i, ids, targets) fills window i of `count`. The interval resamples windows.
Evaluation evaluate_windows(
    std::uint64_t count,
    const std::function<void(std::uint64_t, std::span<std::int32_t>, std::span<std::int32_t>)>& get,
    const Losses& losses, const EvaluationOptions& options);

}  // namespace lowbit::eval
