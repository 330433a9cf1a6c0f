#include "lowbit/text/split.h"

#include <algorithm>
#include <cassert>
#include <numeric>

#include "lowbit/base/error.h"
#include "lowbit/base/interrupt.h"
#include "lowbit/base/rng.h"
#include "lowbit/base/utf8.h"

namespace lowbit::text {
namespace {

constexpr double kManyHeldOut = 20;

/// Where a document is cut whose tail should begin at byte `target` of this piece: behind a line end, or npos. In its
/// last piece a place is found if there is one at all.
std::size_t tail_cut(const TextPiece& piece, std::size_t target) {
  const std::string_view text = piece.text;
  const std::size_t from = std::max<std::size_t>(target, 1);
  for (std::size_t newline = text.find('\n', from - 1); newline != std::string_view::npos;
       newline = text.find('\n', newline + 1))
    if (newline + 1 < text.size() || !piece.ends) return newline + 1;
  if (!piece.ends) return std::string_view::npos;
  if (const std::size_t space = text.find(' ', from); space != std::string_view::npos) return space;
  for (std::size_t i = from; i < text.size(); ++i)
    if (!continues_utf8(text[i])) return i;
  return std::string_view::npos;
}

}  // namespace

Split Split::plan(TextReader reader, double share, std::uint64_t seed,
                  const std::function<void(std::uint64_t)>& progress) {
  assert(share > 0 && share <= 0.5);
  Split split;
  split.share_ = share;
  split.seed_ = seed;
  const Rng rng(seed, RandomUse::split);

  TextPiece piece;
  bool many = false;
  while (!many && reader.next(piece)) {
    check_interrupt("stopped while reading the text; nothing was written");
    progress(reader.consumed());
    if (piece.begins) split.sizes_.push_back(0);
    split.sizes_.back() += piece.text.size();
    many = static_cast<double>(split.sizes_.size()) * share >= kManyHeldOut;
  }
  if (split.sizes_.empty()) fail_input("the files hold no text: every document is empty");
  if (many) {
    split.mode_ = Mode::draw;
    split.sizes_.clear();
    split.description_ = fmt::format("each document held out with probability {}", share);
    return split;
  }

  const std::size_t count = split.sizes_.size();
  const double total = static_cast<double>(std::accumulate(split.sizes_.begin(), split.sizes_.end(), std::uint64_t{0}));
  std::vector<std::size_t> order(count);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    const auto x = rng.bits(a), y = rng.bits(b);
    return x != y ? x < y : a < b;
  });
  split.held_.assign(count, false);
  double held = 0;
  std::size_t held_documents = 0;
  for (const std::size_t d : order) {
    if (held >= 0.75 * share * total) break;
    const auto size = static_cast<double>(split.sizes_[d]);
    if (held + size > 1.25 * share * total) continue;
    held += size;
    split.held_[d] = true;
    ++held_documents;
  }
  if (held >= 0.75 * share * total && held_documents < count) {
    split.mode_ = Mode::chosen;
    split.description_ =
        fmt::format("{} of {} documents held out, {:.2f} % of the text", held_documents, count, 100 * held / total);
  } else {
    split.mode_ = Mode::tails;
    split.description_ =
        fmt::format("{} to hold out whole ones, so the last {:.6g} % of {} held out, cut at a line end",
                    count == 1 ? "one document is too few" : fmt::format("{} documents are too few", count),
                    100 * share, count == 1 ? "it is" : "each are");
  }
  return split;
}

void Split::route(const TextPiece& piece, const Sink& sink) {
  switch (mode_) {
    case Mode::none:
      sink(piece.text, piece.begins, false);
      break;
    case Mode::draw:
      sink(piece.text, piece.begins, Rng(seed_, RandomUse::split).uniform(document_) < share_);
      break;
    case Mode::chosen:
      if (document_ >= held_.size()) fail_input("{} changed while it was read; start again", piece.where);
      sink(piece.text, piece.begins, held_[document_]);
      break;
    case Mode::tails:
      route_tail(piece, sink);
      break;
  }
  offset_ += piece.text.size();
  if (piece.ends) {
    ++document_;
    offset_ = 0;
    in_tail_ = false;
  }
}

void Split::route_tail(const TextPiece& piece, const Sink& sink) {
  if (document_ >= sizes_.size()) fail_input("{} changed while it was read; start again", piece.where);
  if (in_tail_) {
    if (!piece.text.empty()) sink(piece.text, std::exchange(tail_begins_, false), true);
    return;
  }
  const std::uint64_t size = sizes_[document_];
  const auto tail = std::max<std::uint64_t>(1, static_cast<std::uint64_t>(share_ * static_cast<double>(size) + 0.5));
  const std::uint64_t target = size - std::min(size, tail);
  std::size_t cut = std::string_view::npos;
  if (offset_ + piece.text.size() > target) cut = tail_cut(piece, target > offset_ ? target - offset_ : 0);
  const std::string_view text = piece.text;
  sink(text.substr(0, cut), piece.begins, false);
  if (cut == std::string_view::npos) return;
  in_tail_ = tail_begins_ = true;
  if (cut < text.size()) sink(text.substr(cut), std::exchange(tail_begins_, false), true);
}

}  // namespace lowbit::text
