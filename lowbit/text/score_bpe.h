#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace lowbit::text {

using TokenId = std::uint32_t;

/// Byte-pair encoding by the scores of pieces, as SentencePiece's BPE models and llama2.c define it: a text is its
/// characters; of all neighbours that together are a piece the two with the highest score are joined, the leftmost on a
/// tie, until none are left. A character that is no piece becomes the pieces of its bytes.
class ScoreBpe {
 public:
  struct Symbol {
    std::uint32_t begin, size;    // bytes of the text; size 0: joined into its left neighbour
    std::int32_t previous, next;  // -1 at the ends
    bool frozen;                  // a user-defined piece: never joined
  };
  struct Pair {
    float score;
    std::int32_t left, right;
    std::uint32_t size;  // of both when the pair was found; a change since makes the pair stale
    TokenId id;
  };
  /// Working memory, reused from call to call; one per thread.
  struct Scratch {
    std::vector<Symbol> symbols;
    std::vector<Pair> heap;
  };

  /// Pieces in any order; of two with one text the first counts. `text` is copied. score is finite.
  void add_piece(std::string_view text, float score, TokenId id, bool user_defined);
  /// The piece that stands for one byte.
  void set_byte(std::uint8_t byte, TokenId id) { bytes_[byte] = id; }

  /// Call it once, after the last add_piece.
  void finish();

  /// Appends the ids of `text`, which is well-formed UTF-8 of less than 2^31 bytes.
  void encode(std::string_view text, std::vector<TokenId>& ids, Scratch& scratch) const;

 private:
  struct Entry {
    TokenId id;
    float score;
    bool user_defined;
  };
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };
  const Entry* find(std::string_view text) const;
  void push_pair(std::string_view text, std::int32_t left, std::int32_t right, Scratch& scratch) const;
  std::size_t user_defined_prefix(std::string_view text) const;

  std::unordered_map<std::string, Entry, Hash, std::equal_to<>> pieces_;
  std::size_t longest_ = 0;
  std::vector<std::string> user_defined_;  // in order; a lookup takes time logarithmic in how many there are
  std::vector<std::int32_t> shorter_;      // of each the longest other that it begins with, or -1
  bool user_defined_starts_[256] = {};
  TokenId bytes_[256] = {};
};

}  // namespace lowbit::text
