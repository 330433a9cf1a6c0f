#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lowbit/text/score_bpe.h"
#include "lowbit/text/vocabulary.h"

namespace lowbit::text {

/// The tokenizer's name inside a model folder and a data folder.
inline constexpr std::string_view kTokenizerFile = "tokenizer.model";

/// Text to token ids and back. Reads SentencePiece models (those of `lowbit tokenizer train`, of Llama and its kind)
/// and llama2.c vocabularies. Cheap to copy; every member may be called from several threads at once.
///
/// Models trained by lowbit bring back every UTF-8 text exactly: text is not normalized, spaces are kept, characters
/// outside the vocabulary become the pieces of their bytes, and so does U+2581, which stands for a space inside pieces.
/// Other models do what their own flags say, as SentencePiece does; then U+2581 comes back as a space.
class Tokenizer {
 public:
  /// file_or_folder  a tokenizer's file, or a folder that holds tokenizer.model (or llama2.c's tokenizer.bin,
  /// tokN.bin). throws Error(input): not found, not a tokenizer, damaged.
  static Tokenizer load(const std::filesystem::path& file_or_folder);
  /// `where` names the bytes in errors.
  static Tokenizer from_bytes(std::string bytes, std::string where);

  /// The ids of a text by itself, without begin and end tokens.
  /// throws Error(input) that names the byte offset, unless it is UTF-8.
  std::vector<TokenId> encode(std::string_view text) const;
  /// The same after the begin token (where the vocabulary has one): a document, as models are trained on.
  std::vector<TokenId> encode_document(std::string_view text) const;
  /// The bytes that the ids stand for: exactly the encoded text where the model keeps it (exact()). Begin, end and
  /// other control tokens stand for nothing. ids are below vocabulary(): throws Error(input) with the id and its place.
  std::string decode(std::span<const TokenId> ids) const;

  /// How many ids there are.
  std::size_t vocabulary() const;
  std::optional<TokenId> bos() const;
  std::optional<TokenId> eos() const;
  std::optional<TokenId> unk() const;
  bool is_control(TokenId id) const;
  /// The piece as its file writes it: "▁the", "<0x0A>".
  std::string_view piece(TokenId id) const;
  /// The bytes that an id adds to a text: " the", "\n"; nothing for control tokens. (At the start of a text a model
  /// with a dummy prefix leaves out one space.) id < vocabulary().
  std::string_view bytes(TokenId id) const;
  std::size_t byte_length(TokenId id) const { return bytes(id).size(); }
  /// Whether the first space of a decoded text is left out (Llama's models).
  bool adds_dummy_prefix() const;
  /// Whether decode(encode(text)) == text for every UTF-8 text.
  bool exact() const;

  /// The largest p <= text.size() such that the ids of any text that begins with `text` are those of its first p bytes
  /// followed by those of the rest (encoded as not beginning a text); 0 when there is none. It is where long texts are
  /// cut, so that parts can be encoded apart, in parallel, with the same ids.
  std::size_t last_cut(std::string_view text) const;

  /// Whether parts of a text may be encoded apart at all; otherwise only whole texts.
  bool encodes_parts() const;

  const Vocabulary& description() const;
  /// The file, byte for byte, and its XXH3.
  const std::string& file_bytes() const;
  std::uint64_t hash() const;

 private:
  friend class Encoder;
  struct State;
  explicit Tokenizer(std::shared_ptr<const State> state) : state_(std::move(state)) {}
  std::shared_ptr<const State> state_;
};

/// Encodes for one thread, remembering the ids of words that it has seen: several times faster than
/// Tokenizer::encode over long texts, with the same ids.
class Encoder {
 public:
  explicit Encoder(Tokenizer tokenizer);
  ~Encoder();
  Encoder(Encoder&&) noexcept;
  /// Appends the ids of `text`. begins: it begins a text, otherwise it goes on after a cut (Tokenizer::last_cut).
  /// throws Error(input) unless it is UTF-8.
  void encode(std::string_view text, bool begins, std::vector<TokenId>& ids);

 private:
  struct Cache;
  void encode_word(std::string_view word, std::vector<TokenId>& ids);
  Tokenizer tokenizer_;
  ScoreBpe::Scratch scratch_;
  std::unique_ptr<Cache> cache_;
};

/// Text that appears token by token. A token may hold a part of a character; its bytes are held back until the
/// character is whole or can no longer become one. All that push and finish return, one after another, is decode of the
/// ids.
class StreamDecoder {
 public:
  /// at_start: nothing was decoded before (what follows a prompt does not begin a text).
  explicit StreamDecoder(Tokenizer tokenizer, bool at_start = true);
  /// The bytes to show now; valid until the next call. Allocates nothing once warm.
  /// An id outside the vocabulary stands for nothing: a model may have more rows than its tokenizer has pieces.
  std::string_view push(TokenId id);
  /// What is still held back: the beginning of a character that never came whole.
  std::string_view finish();

 private:
  Tokenizer tokenizer_;
  std::string held_;
  std::size_t shown_ = 0;
  bool at_start_;
};

}  // namespace lowbit::text
