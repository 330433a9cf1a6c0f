#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace lowbit::text {

/// What a piece is, with SentencePiece's numbers.
enum class PieceType : std::uint8_t { normal = 1, unknown = 2, control = 3, user_defined = 4, unused = 5, byte = 6 };
std::string_view piece_type_name(PieceType type);

struct Piece {
  std::string text;  ///< as the file has it: SentencePiece writes U+2581 for a space, and <0x41> for byte 0x41
  float score = 0;
  PieceType type = PieceType::normal;
};

enum class TokenizerKind { sentencepiece, llama2c };
enum class ModelType { unigram = 1, bpe = 2, word = 3, character = 4 };
std::string_view model_type_name(ModelType type);

/// A tokenizer's file, read: its pieces and the flags that decide how text becomes pieces.
struct Vocabulary {
  TokenizerKind kind = TokenizerKind::sentencepiece;
  ModelType model_type = ModelType::unigram;
  std::vector<Piece> pieces;
  std::string normalizer = "";   ///< its name: "identity", "nmt_nfkc", ...
  bool identity = true;          ///< no table of replacements
  bool add_dummy_prefix = true;  ///< a space goes before every text
  bool remove_extra_whitespaces =
      true;  ///< runs of spaces become one, ends are trimmed: text does not come back exactly
  bool escape_whitespaces = true;
  bool whitespace_as_suffix = false;
  bool byte_fallback = false;
  std::string unk_surface = " \u2047 ";
  std::string bos_piece = "<s>", eos_piece = "</s>";
  /// What training recorded (text/tokenizer_train.h), or "". Models that carry it keep U+2581 in text apart from a
  /// space.
  std::string record;
};

/// Where the record stands in SentencePiece's ModelProto: a field of the range that it leaves to others (200 and up).
inline constexpr std::uint32_t kRecordField = 1000;

/// Reads a SentencePiece model (a protocol buffer, sentencepiece_model.proto) or a llama2.c vocabulary (uint32 longest
/// piece; then float32 score, uint32 size and bytes of each piece; ids 0 to 2 are unknown, begin and end, 3 to 258 the
/// bytes), told apart by content. `where` names the file in errors.
/// throws Error(input): neither, cut short, or with values that cannot be used: no or two unknown pieces, a piece
/// twice, or of more than 4096 bytes, a byte that has no piece, a damaged table of replacements, ...
Vocabulary read_vocabulary(std::string_view bytes, std::string_view where);

/// The pieces, trainer's and normalizer's fields of a SentencePiece model that read_vocabulary took: what the library
/// encodes with. It would run the model's own samples (self_test_data) when it loads them.
std::string encoding_fields(std::string_view model);

/// throws Error(input): a piece with a zero byte. Published models have such pieces, and our own encoder takes them;
/// the library's tables are keyed by texts that end with a zero.
void check_for_library(const Vocabulary& vocabulary, std::string_view where);

/// The byte that a piece such as <0x0A> names, or -1.
int named_byte(std::string_view piece);

}  // namespace lowbit::text
