#include "lowbit/text/score_bpe.h"

#include <algorithm>
#include <cassert>

#include "lowbit/base/utf8.h"

namespace lowbit::text {
namespace {

// The heap's top is the pair to join next: highest score, then leftmost.
bool comes_later(const ScoreBpe::Pair& a, const ScoreBpe::Pair& b) {
  return a.score < b.score || (a.score == b.score && a.left > b.left);
}

}  // namespace

void ScoreBpe::add_piece(std::string_view text, float score, TokenId id, bool user_defined) {
  assert(!text.empty());
  if (!pieces_.emplace(std::string(text), Entry{id, score, user_defined}).second) return;
  longest_ = std::max(longest_, text.size());
  if (user_defined) {
    user_defined_.emplace_back(text);
    user_defined_starts_[static_cast<unsigned char>(text[0])] = true;
  }
}

const ScoreBpe::Entry* ScoreBpe::find(std::string_view text) const {
  if (text.size() > longest_) return nullptr;
  const auto found = pieces_.find(text);
  return found == pieces_.end() ? nullptr : &found->second;
}

void ScoreBpe::finish() {
  std::sort(user_defined_.begin(), user_defined_.end());
  shorter_.clear();
  for (std::size_t i = 0; i < user_defined_.size(); ++i) {
    // A piece that this one begins with also begins the one before it, or is that one.
    auto at = static_cast<std::int32_t>(i) - 1;
    while (at >= 0 && !user_defined_[i].starts_with(user_defined_[static_cast<std::size_t>(at)]))
      at = shorter_[static_cast<std::size_t>(at)];
    shorter_.push_back(at);
  }
}

std::size_t ScoreBpe::user_defined_prefix(std::string_view text) const {
  if (!user_defined_starts_[static_cast<unsigned char>(text[0])]) return 0;
  // Of all pieces up to `text` in order, the last; the longest that begins the text is that one or begins it.
  const auto after = std::upper_bound(user_defined_.begin(), user_defined_.end(), text);
  auto at = static_cast<std::int32_t>(after - user_defined_.begin()) - 1;
  if (at < 0) return 0;
  const std::string& last = user_defined_[static_cast<std::size_t>(at)];
  const auto common = static_cast<std::size_t>(
      std::mismatch(last.begin(), last.end(), text.begin(), text.end()).first - last.begin());
  while (at >= 0 && user_defined_[static_cast<std::size_t>(at)].size() > common)
    at = shorter_[static_cast<std::size_t>(at)];
  return at < 0 ? 0 : user_defined_[static_cast<std::size_t>(at)].size();
}

void ScoreBpe::push_pair(std::string_view text, std::int32_t left, std::int32_t right, Scratch& scratch) const {
  if (left < 0 || right < 0) return;
  const Symbol& a = scratch.symbols[static_cast<std::size_t>(left)];
  const Symbol& b = scratch.symbols[static_cast<std::size_t>(right)];
  if (a.frozen || b.frozen) return;
  const Entry* entry = find(text.substr(a.begin, a.size + b.size));
  if (!entry) return;
  scratch.heap.push_back({entry->score, left, right, a.size + b.size, entry->id});
  std::push_heap(scratch.heap.begin(), scratch.heap.end(), comes_later);
}

void ScoreBpe::encode(std::string_view text, std::vector<TokenId>& ids, Scratch& scratch) const {
  assert(text.size() < (std::size_t{1} << 31));
  auto& symbols = scratch.symbols;
  symbols.clear();
  scratch.heap.clear();
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t user_defined = !user_defined_.empty() ? user_defined_prefix(text.substr(i)) : 0;
    const std::size_t size = user_defined ? user_defined : std::min(utf8_length(text[i]), text.size() - i);
    const auto index = static_cast<std::int32_t>(symbols.size());
    symbols.push_back(
        {static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(size), index - 1, index + 1, user_defined != 0});
    i += size;
  }
  if (symbols.empty()) return;
  symbols.back().next = -1;
  for (std::size_t i = 1; i < symbols.size(); ++i)
    push_pair(text, static_cast<std::int32_t>(i) - 1, static_cast<std::int32_t>(i), scratch);

  while (!scratch.heap.empty()) {
    std::pop_heap(scratch.heap.begin(), scratch.heap.end(), comes_later);
    const Pair pair = scratch.heap.back();
    scratch.heap.pop_back();
    Symbol& left = symbols[static_cast<std::size_t>(pair.left)];
    Symbol& right = symbols[static_cast<std::size_t>(pair.right)];
    if (left.size == 0 || right.size == 0 || left.size + right.size != pair.size) continue;
    left.size += right.size;
    right.size = 0;
    left.next = right.next;
    if (right.next >= 0) symbols[static_cast<std::size_t>(right.next)].previous = pair.left;
    push_pair(text, left.previous, pair.left, scratch);
    push_pair(text, pair.left, left.next, scratch);
  }

  for (std::int32_t i = 0; i >= 0; i = symbols[static_cast<std::size_t>(i)].next) {
    const Symbol& symbol = symbols[static_cast<std::size_t>(i)];
    const std::string_view piece = text.substr(symbol.begin, symbol.size);
    if (const Entry* entry = find(piece)) {
      ids.push_back(entry->id);
    } else {
      for (const char byte : piece) ids.push_back(bytes_[static_cast<unsigned char>(byte)]);
    }
  }
}

}  // namespace lowbit::text
