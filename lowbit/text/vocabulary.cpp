#include "lowbit/text/vocabulary.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <optional>
#include <unordered_set>

#include "lowbit/base/error.h"
#include "lowbit/base/utf8.h"
#include "lowbit/base/words.h"
#include "lowbit/text/charsmap.h"

namespace lowbit::text {
namespace {

constexpr std::size_t kMaxPieces = std::size_t{1} << 22;
constexpr std::size_t kMaxPieceBytes = 4096;   // as in llama2.c's vocabularies; encoding a place may read so much
constexpr std::size_t kMaxSurfaceBytes = 1024;  // what each unknown token becomes
constexpr std::size_t kMaxNested = 64;          // user-defined pieces that begin each other: the library keeps so many

template <class T>
T load_little(std::string_view bytes, std::size_t at) {
  static_assert(std::endian::native == std::endian::little);
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof(T));
  return value;
}

/// The fields of one protocol buffer message, one after another.
class ProtoReader {
 public:
  ProtoReader(std::string_view bytes, std::string_view where) : bytes_(bytes), where_(where) {}

  /// The next field, or false at the end.
  bool next() {
    if (at_ == bytes_.size()) return false;
    start_ = at_;
    const std::uint64_t tag = varint();
    if (tag >> 32 || (tag >> 3) == 0) broken();
    field_ = static_cast<std::uint32_t>(tag >> 3);
    wire_ = static_cast<int>(tag & 7);
    switch (wire_) {
      case 0:
        number_ = varint();
        break;
      case 1:
        content_ = take(8);
        break;
      case 2:
        content_ = take(varint());
        break;
      case 5:
        content_ = take(4);
        break;
      default:
        broken();
    }
    return true;
  }
  std::uint32_t field() const { return field_; }
  std::uint64_t number() const { return expect(0), number_; }
  bool flag() const { return number() != 0; }
  float real() const { return expect(5), load_little<float>(content_, 0); }
  std::string_view content() const { return expect(2), content_; }
  std::string text() const { return std::string(content()); }
  ProtoReader message() const { return {content(), where_}; }
  /// The field as it stands in the message, with its tag.
  std::string_view whole() const { return bytes_.substr(start_, at_ - start_); }
  [[noreturn]] void broken() const {
    fail_input("{}: not a SentencePiece model, or one that is cut short or changed", where_);
  }

 private:
  void expect(int wire) const {
    if (wire_ != wire) broken();
  }
  std::string_view take(std::uint64_t size) {
    if (size > bytes_.size() - at_) broken();
    const std::string_view taken = bytes_.substr(at_, size);
    at_ += size;
    return taken;
  }
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(take(1)[0]);
      value |= std::uint64_t{byte & 0x7Fu} << shift;
      if (byte < 0x80) return value;
    }
    broken();
  }

  std::string_view bytes_, where_, content_;
  std::size_t at_ = 0, start_ = 0;
  std::uint32_t field_ = 0;
  int wire_ = 0;
  std::uint64_t number_ = 0;
};

Piece read_piece(ProtoReader fields) {
  Piece piece;
  while (fields.next()) {
    if (fields.field() == 1) piece.text = fields.text();
    if (fields.field() == 2) piece.score = fields.real();
    if (fields.field() == 3) {
      if (fields.number() < 1 || fields.number() > 6) fields.broken();
      piece.type = static_cast<PieceType>(fields.number());
    }
  }
  return piece;
}

void read_trainer(ProtoReader fields, Vocabulary& v) {
  while (fields.next()) switch (fields.field()) {
      case 3:
        if (fields.number() < 1 || fields.number() > 4) fields.broken();
        v.model_type = static_cast<ModelType>(fields.number());
        break;
      case 24:
        v.whitespace_as_suffix = fields.flag();
        break;
      case 35:
        v.byte_fallback = fields.flag();
        break;
      case 44:
        v.unk_surface = fields.text();
        break;
      case 46:
        v.bos_piece = fields.text();
        break;
      case 47:
        v.eos_piece = fields.text();
        break;
      default:
        break;
    }
}

void read_normalizer(ProtoReader fields, std::string_view where, Vocabulary& v) {
  while (fields.next()) switch (fields.field()) {
      case 1:
        v.normalizer = fields.text();
        break;
      case 2:
        v.identity = fields.content().empty();
        if (!v.identity) check_charsmap(fields.content(), where);
        break;
      case 3:
        v.add_dummy_prefix = fields.flag();
        break;
      case 4:
        v.remove_extra_whitespaces = fields.flag();
        break;
      case 5:
        v.escape_whitespaces = fields.flag();
        break;
      default:
        break;
    }
}

Vocabulary read_sentencepiece(std::string_view bytes, std::string_view where) {
  Vocabulary v;
  ProtoReader fields(bytes, where);
  while (fields.next()) switch (fields.field()) {
      case 1:
        v.pieces.push_back(read_piece(fields.message()));
        if (v.pieces.size() > kMaxPieces) fields.broken();
        break;
      case 2:
        read_trainer(fields.message(), v);
        break;
      case 3:
        read_normalizer(fields.message(), where, v);
        break;
      case kRecordField:
        v.record = fields.text();
        break;
      default:
        break;
    }
  return v;
}

std::optional<Vocabulary> read_llama2c(std::string_view bytes) {
  constexpr std::size_t kSpecial = 259;  // unknown, begin, end, and 256 bytes
  if (bytes.size() < 4) return {};
  const auto longest = load_little<std::uint32_t>(bytes, 0);
  if (longest == 0 || longest > 4096) return {};
  Vocabulary v;
  v.kind = TokenizerKind::llama2c;
  v.model_type = ModelType::bpe;
  v.normalizer = "identity";
  v.remove_extra_whitespaces = false;
  v.escape_whitespaces = false;
  v.byte_fallback = true;
  for (std::size_t at = 4; at < bytes.size();) {
    if (bytes.size() - at < 8) return {};
    Piece piece;
    piece.score = load_little<float>(bytes, at);
    const auto size = load_little<std::uint32_t>(bytes, at + 4);
    at += 8;
    if (size > bytes.size() - at || size > longest) return {};
    piece.text = bytes.substr(at, size);
    at += size;
    const std::size_t id = v.pieces.size();
    if (id < kSpecial) piece.type = id == 0 ? PieceType::unknown : id < 3 ? PieceType::control : PieceType::byte;
    if (piece.type == PieceType::byte && named_byte(piece.text) != static_cast<int>(id) - 3) return {};
    v.pieces.push_back(std::move(piece));
    if (v.pieces.size() > kMaxPieces) return {};
  }
  if (v.pieces.size() < kSpecial) return {};
  v.unk_surface = "";  // llama2.c never makes it
  v.bos_piece = v.pieces[1].text;
  v.eos_piece = v.pieces[2].text;
  return v;
}

/// What the library refuses too, or does not survive.
void check_sentencepiece(const Vocabulary& v, std::string_view where) {
  std::unordered_set<std::string_view> texts;
  std::vector<std::string_view> user_defined;
  std::optional<std::size_t> unknown;
  bool named[256] = {};
  std::size_t bytes = 0;
  for (std::size_t id = 0; id < v.pieces.size(); ++id) {
    const Piece& piece = v.pieces[id];
    if (!texts.insert(piece.text).second)
      fail_input("{}: piece {}, '{}', stands twice; the tokenizer's file is damaged", where, id,
                 excerpt(piece.text, 60));
    if (piece.type == PieceType::unknown && unknown)
      fail_input("{}: pieces {} and {} are both the unknown piece; a model has one", where, *unknown, id);
    if (piece.type == PieceType::unknown) unknown = id;
    if (piece.type == PieceType::byte) named[named_byte(piece.text)] = true, ++bytes;
    if (piece.type == PieceType::user_defined) user_defined.push_back(piece.text);
  }
  if (!unknown) fail_input("{}: no piece is of type unknown; a model has one", where);
  if (v.byte_fallback)
    if (const auto missing = std::find(std::begin(named), std::end(named), false); missing != std::end(named))
      fail_input("{}: it falls back to bytes, and the piece <0x{:02X}> is missing", where, missing - std::begin(named));
  if (bytes > 0 && !v.byte_fallback)
    fail_input("{}: {} pieces of type byte in a model that does not fall back to bytes", where, bytes);
  std::sort(user_defined.begin(), user_defined.end());
  std::vector<std::string_view> around;  // those that the one at hand begins with, each with the one before it
  for (const std::string_view text : user_defined) {
    while (!around.empty() && !text.starts_with(around.back())) around.pop_back();
    around.push_back(text);
    if (around.size() > kMaxNested)
      fail_input("{}: more than {} user-defined pieces begin each other", where, kMaxNested);
  }
}

void check_pieces(const Vocabulary& v, std::string_view where) {
  if (v.pieces.empty()) fail_input("{}: not a SentencePiece model or llama2.c vocabulary: it has no pieces", where);
  if (v.whitespace_as_suffix)
    fail_input(
        "{}: this SentencePiece model puts spaces behind words (treat_whitespace_as_suffix), which is not supported",
        where);
  for (std::size_t id = 0; id < v.pieces.size(); ++id) {
    const Piece& piece = v.pieces[id];
    if (piece.text.empty()) fail_input("{}: piece {} has no text; the tokenizer's file is damaged", where, id);
    if (piece.text.size() > kMaxPieceBytes)
      fail_input("{}: piece {} has {} bytes, more than {}", where, id, piece.text.size(), kMaxPieceBytes);
    if (!std::isfinite(piece.score))
      fail_input("{}: piece {} has score {}; the tokenizer's file is damaged", where, id, piece.score);
    if (first_invalid_utf8(piece.text) != std::string_view::npos)
      fail_input("{}: piece {} is not UTF-8; the tokenizer's file is damaged", where, id);
    if (piece.type == PieceType::byte && named_byte(piece.text) < 0)
      fail_input("{}: piece {} is of type byte but named '{}', not <0x00> to <0xFF>", where, id,
                 excerpt(piece.text, 60));
  }
  if (v.unk_surface.size() > kMaxSurfaceBytes)
    fail_input("{}: an unknown token would become {} bytes of text (unk_surface), more than {}", where,
               v.unk_surface.size(), kMaxSurfaceBytes);
  if (first_invalid_utf8(v.unk_surface) != std::string_view::npos)
    fail_input("{}: the text of an unknown token (unk_surface) is not UTF-8", where);
  if (v.kind == TokenizerKind::sentencepiece) check_sentencepiece(v, where);
}

}  // namespace

void check_for_library(const Vocabulary& v, std::string_view where) {
  for (std::size_t id = 0; id < v.pieces.size(); ++id)
    if (v.pieces[id].text.find('\0') != std::string::npos)
      fail_input("{}: piece {} holds a zero byte, which a model of this kind cannot encode", where, id);
}

int named_byte(std::string_view piece) {
  if (piece.size() != 6 || !piece.starts_with("<0x") || piece[5] != '>') return -1;
  int value = 0;
  for (const char c : piece.substr(3, 2)) {
    if (c >= '0' && c <= '9')
      value = 16 * value + (c - '0');
    else if (c >= 'A' && c <= 'F')
      value = 16 * value + (c - 'A' + 10);
    else
      return -1;
  }
  return value;
}

std::string_view piece_type_name(PieceType type) {
  switch (type) {
    case PieceType::normal:
      return "normal";
    case PieceType::unknown:
      return "unknown";
    case PieceType::control:
      return "control";
    case PieceType::user_defined:
      return "user-defined";
    case PieceType::unused:
      return "unused";
    case PieceType::byte:
      return "byte";
  }
  return "";
}

std::string_view model_type_name(ModelType type) {
  switch (type) {
    case ModelType::unigram:
      return "unigram";
    case ModelType::bpe:
      return "bpe";
    case ModelType::word:
      return "word";
    case ModelType::character:
      return "char";
  }
  return "";
}

Vocabulary read_vocabulary(std::string_view bytes, std::string_view where) {
  // llama2.c's form has no magic, but a file that is it to the last byte is nothing else.
  auto llama2c = read_llama2c(bytes);
  Vocabulary v = llama2c ? std::move(*llama2c) : read_sentencepiece(bytes, where);
  check_pieces(v, where);
  return v;
}

std::string encoding_fields(std::string_view model) {
  std::string kept;
  ProtoReader fields(model, "");
  while (fields.next())
    if (fields.field() <= 3) kept += fields.whole();
  return kept;
}

}  // namespace lowbit::text
