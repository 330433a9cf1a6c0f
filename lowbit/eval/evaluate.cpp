#include "lowbit/eval/evaluate.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "lowbit/base/error.h"
#include "lowbit/base/interrupt.h"
#include "lowbit/base/math.h"
#include "lowbit/base/rng.h"

namespace lowbit::eval {
namespace {

constexpr double kLn2 = 0.6931471805599453;
constexpr const char* kStopped = "evaluation stopped; nothing was written";

/// What is resampled: the losses, tokens and bytes of one document or window.
struct Unit {
  double nats = 0, tokens = 0, bytes = 0;
};

Interval percentiles(std::vector<double>& values) {
  std::sort(values.begin(), values.end());
  const auto at = [&](double share) {
    const double place = share * static_cast<double>(values.size() - 1);
    const auto below = static_cast<std::size_t>(place);
    const std::size_t above = std::min(below + 1, values.size() - 1);
    return values[below] + (place - static_cast<double>(below)) * (values[above] - values[below]);
  };
  return {at(0.025), at(0.975)};
}

/// Ratio estimators of resampled units: sums over sums, so that long documents weigh what they weigh in the whole.
void bootstrap(const std::vector<Unit>& units, const EvaluationOptions& options, Evaluation& result) {
  std::vector<double> nats, bits;
  for (int round = 0; round < options.resamples; ++round) {
    check_interrupt(kStopped);
    const Rng rng(options.seed, RandomUse::bootstrap, static_cast<std::uint64_t>(round));
    Unit sum;
    for (std::size_t i = 0; i < units.size(); ++i) {
      const Unit& u = units[rng.below(i, units.size())];
      sum.nats += u.nats;
      sum.tokens += u.tokens;
      sum.bytes += u.bytes;
    }
    if (sum.tokens > 0) nats.push_back(sum.nats / sum.tokens);
    if (sum.bytes > 0) bits.push_back(sum.nats / (kLn2 * sum.bytes));
  }
  if (!nats.empty()) result.nats_interval = percentiles(nats);
  if (result.bits_per_byte && !bits.empty()) result.bits_interval = percentiles(bits);
}

/// The units of a stretch of text, and its bytes (0: not known).
struct Measured {
  std::vector<Unit> units;
  double bytes = 0;
  std::string_view over;
};

/// What is counted while losses come in.
struct Counts {
  std::int64_t seen = 0, unknown = 0;
  std::optional<std::int64_t> first_not_finite;
  void add(double loss, std::int32_t target, const EvaluationOptions& options) {
    if (!std::isfinite(loss) && !first_not_finite) first_not_finite = seen;
    unknown += options.unknown && target == *options.unknown;
    ++seen;
  }
};

/// Means without intervals.
Evaluation means(const Measured& m, const Counts& counts) {
  Evaluation result;
  double nats = 0, tokens = 0;
  for (const Unit& u : m.units) {
    nats += u.nats;
    tokens += u.tokens;
  }
  result.nats_per_token = nats / tokens;
  result.tokens = static_cast<std::int64_t>(tokens);
  result.unknown_tokens = counts.unknown;
  result.first_not_finite = counts.first_not_finite;
  result.bits_refused = m.bytes > 0 && static_cast<double>(counts.unknown) > kMostUnknown * tokens;
  if (m.bytes > 0) {
    if (!result.bits_refused) result.bits_per_byte = nats / (kLn2 * m.bytes);
    result.bytes = static_cast<std::int64_t>(m.bytes + 0.5);
  }
  result.interval_over = m.over;
  result.units = static_cast<std::int64_t>(m.units.size());
  return result;
}

Evaluation summarize(const Measured& m, const Counts& counts, const EvaluationOptions& options) {
  Evaluation result = means(m, counts);
  if (!counts.first_not_finite) {
    bootstrap(m.units, options, result);
  } else {
    result.nats_interval = {NAN, NAN};
    if (result.bits_per_byte) result.bits_interval = Interval{NAN, NAN};
  }
  return result;
}

Evaluation::First first_of(const Measured& m, const Counts& counts) {
  const Evaluation e = means(m, counts);
  return {e.nats_per_token, e.bits_per_byte, e.tokens};
}

/// About `tokens` in whole windows.
std::uint64_t whole_windows(std::int64_t tokens, std::uint64_t length) {
  return (static_cast<std::uint64_t>(tokens) + length - 1) / length * length;
}

/// Documents where two or more are known, windows otherwise. done: tokens predicted.
Measured measure(const TokenStream& stream, std::vector<Unit> by_document, std::vector<Unit> by_window,
                 std::uint64_t done, const EvaluationOptions& options) {
  // A document that was evaluated in part counts that share of its bytes.
  const std::size_t documents = stream.document_starts.size();
  double bytes = 0;
  for (std::size_t d = 0; d < documents; ++d) {
    const std::uint64_t end = d + 1 < documents ? stream.document_starts[d + 1] : stream.tokens;
    // The very first token of the stream is given, not predicted; it begins a document and stands for no text.
    const double whole = static_cast<double>(end - stream.document_starts[d]) - (d == 0 ? 1 : 0);
    if (whole > 0)
      by_document[d].bytes = static_cast<double>(stream.document_bytes[d]) * (by_document[d].tokens / whole);
    bytes += by_document[d].bytes;
  }
  std::erase_if(by_document, [](const Unit& u) { return u.tokens == 0; });
  const double known = documents > 0 ? bytes / static_cast<double>(done) : options.bytes_per_token;
  for (Unit& u : by_window) u.bytes = u.tokens * known;
  if (documents == 0) bytes = static_cast<double>(done) * options.bytes_per_token;
  if (by_document.size() >= 2) return {std::move(by_document), bytes, "documents"};
  return {std::move(by_window), bytes, "windows"};
}

}  // namespace

double Evaluation::perplexity() const { return math::exp(nats_per_token); }

TokenStream stream_of(const files::TokenShard& shard) {
  TokenStream stream;
  stream.tokens = shard.tokens();
  stream.copy = [&shard](std::uint64_t begin, std::span<std::int32_t> out) {
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<std::int32_t>(shard.token(begin + i));
  };
  if (shard.has_documents()) {
    stream.document_starts = shard.document_starts();
    stream.document_bytes = shard.document_bytes();
  }
  return stream;
}

Evaluation evaluate(const TokenStream& stream, const Losses& losses, const EvaluationOptions& options) {
  if (stream.tokens < 2) fail_input("there are {} tokens to evaluate; at least 2 are needed", stream.tokens);
  const std::uint64_t length = options.length;
  std::uint64_t total = stream.tokens - 1;
  if (options.most_tokens > 0) total = std::min(total, whole_windows(options.most_tokens, length));
  std::uint64_t first_end = options.first_tokens > 0 ? std::min(total, whole_windows(options.first_tokens, length)) : 0;

  const std::size_t documents = stream.document_starts.size();
  std::vector<Unit> by_document(documents), by_window;
  std::vector<std::int32_t> tokens, ids, targets;
  std::vector<double> loss;
  std::optional<Evaluation::First> first;
  Counts counts;
  std::size_t document = 0;
  std::uint64_t done = 0;
  while (done < total) {
    check_interrupt(kStopped);
    // Whole windows together, up to the end of the first tokens; the short one at the end by itself.
    const std::uint64_t left = (done < first_end ? first_end : total) - done;
    const std::uint64_t n = std::min(length, left);
    const std::uint64_t windows = n < length ? 1 : std::min<std::uint64_t>(options.windows_at_once, left / length);
    const std::size_t rows = static_cast<std::size_t>(n * windows);
    tokens.resize(rows + 1);
    ids.resize(rows);
    targets.resize(rows);
    loss.resize(rows);
    stream.copy(done, tokens);
    std::copy_n(tokens.begin(), rows, ids.begin());
    std::copy_n(tokens.begin() + 1, rows, targets.begin());
    losses(ids, targets, static_cast<std::size_t>(n), loss);
    for (std::size_t i = 0; i < rows; ++i) {
      counts.add(loss[i], targets[i], options);
      if (i % n == 0) by_window.push_back({});
      by_window.back().nats += loss[i];
      by_window.back().tokens += 1;
      if (documents == 0) continue;
      while (document + 1 < documents && stream.document_starts[document + 1] <= done + i + 1) ++document;
      by_document[document].nats += loss[i];
      by_document[document].tokens += 1;
    }
    done += rows;
    if (done == first_end) first = first_of(measure(stream, by_document, by_window, done, options), counts);
    if (options.progress) options.progress(static_cast<std::int64_t>(done), static_cast<std::int64_t>(total));
  }
  Evaluation result =
      summarize(measure(stream, std::move(by_document), std::move(by_window), done, options), counts, options);
  result.first = first;
  return result;
}

Evaluation evaluate_windows(
    std::uint64_t count,
    const std::function<void(std::uint64_t, std::span<std::int32_t>, std::span<std::int32_t>)>& get,
    const Losses& losses, const EvaluationOptions& options) {
  const std::size_t n = options.length;
  const auto windows_of = [&](std::int64_t tokens) { return std::min(count, whole_windows(tokens, n) / n); };
  if (options.most_tokens > 0) count = windows_of(options.most_tokens);
  if (count == 0) fail_input("there are no windows to evaluate");
  const std::uint64_t first_end = options.first_tokens > 0 ? windows_of(options.first_tokens) : 0;
  const auto measured = [&](std::vector<Unit> units) {
    const double bytes = static_cast<double>(units.size() * n) * options.bytes_per_token;
    return Measured{std::move(units), bytes, "windows"};
  };
  std::vector<Unit> units;
  std::vector<std::int32_t> ids, targets;
  std::vector<double> loss;
  std::optional<Evaluation::First> first;
  Counts counts;
  for (std::uint64_t at = 0; at < count;) {
    check_interrupt(kStopped);
    const std::uint64_t left = (at < first_end ? first_end : count) - at;
    const auto windows = static_cast<std::size_t>(std::min<std::uint64_t>(options.windows_at_once, left));
    ids.resize(windows * n);
    targets.resize(windows * n);
    loss.resize(windows * n);
    for (std::size_t w = 0; w < windows; ++w)
      get(at + w, std::span(ids).subspan(w * n, n), std::span(targets).subspan(w * n, n));
    losses(ids, targets, n, loss);
    for (std::size_t w = 0; w < windows; ++w) {
      Unit unit;
      for (std::size_t i = 0; i < n; ++i) {
        unit.nats += loss[w * n + i];
        counts.add(loss[w * n + i], targets[w * n + i], options);
      }
      unit.tokens = static_cast<double>(n);
      unit.bytes = unit.tokens * options.bytes_per_token;
      units.push_back(unit);
    }
    at += windows;
    if (at == first_end) first = first_of(measured(units), counts);
    if (options.progress) options.progress(static_cast<std::int64_t>(at * n), static_cast<std::int64_t>(count * n));
  }
  Evaluation result = summarize(measured(std::move(units)), counts, options);
  result.first = first;
  return result;
}

}  // namespace lowbit::eval
