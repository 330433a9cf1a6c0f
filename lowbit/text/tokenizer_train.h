#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>

namespace lowbit::text {

/// Trains SentencePiece BPE models from word counts, so that memory follows the number of different words and not the
/// size of the text, and the result does not depend on how the text was cut or how many threads there are.
///
/// What is pinned, and recorded in the model (Vocabulary::record, printed by `lowbit tokenizer inspect`):
/// - BPE with byte fallback: ids 0 to 2 are <unk>, <s> and </s>, 3 to 258 the bytes, then the pieces. No normalization,
///   no dummy prefix, spaces are kept. Pieces have at most 16 characters; runs of spaces may be pieces; digits stand
///   alone; a piece has letters of one script only, and a space only at its beginning.
/// - Control characters (line ends and tabs too), U+2581 and U+2585 are never part of a piece and are coded as bytes.
/// - The alphabet is the most frequent characters, until they cover 99.95 % of the text or take half of the room that
///   bytes and special ids leave; what is rarer is coded as bytes.
class TokenizerTrainer {
 public:
  /// vocabulary: how many ids, 264 to 1,000,000. throws Error(usage) outside.
  explicit TokenizerTrainer(std::size_t vocabulary);
  /// A stretch of text that ends where a line or a document does (or before a space).
  void add(std::string_view text);
  /// The model file's bytes. throws Error(input): no text, or too little of it for the vocabulary (the largest that it
  /// gives is named).
  std::string train() const;

  std::uint64_t bytes_seen() const { return bytes_seen_; }
  std::size_t distinct_words() const { return counts_.size(); }

 private:
  void count_word(std::string_view word);
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };
  std::size_t vocabulary_;
  std::unordered_map<std::string, std::uint64_t, Hash, std::equal_to<>> counts_;
  std::size_t table_bytes_ = 0;
  std::uint64_t bytes_seen_ = 0;
};

}  // namespace lowbit::text
