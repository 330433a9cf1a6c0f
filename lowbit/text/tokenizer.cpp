#include "lowbit/text/tokenizer.h"

#include <sentencepiece_processor.h>

#include <algorithm>
#include <cassert>
#include <exception>
#include <new>
#include <system_error>

#include "lowbit/base/error.h"
#include "lowbit/base/file_map.h"
#include "lowbit/base/hash.h"
#include "lowbit/base/utf8.h"

namespace lowbit::text {
namespace {

constexpr std::string_view kSpaceMark = "\u2581";
constexpr std::size_t kMaxFile = std::size_t{256} << 20;

std::string replace_all(std::string_view text, std::string_view from, std::string_view to) {
  std::string out;
  out.reserve(text.size());
  std::size_t at = 0;
  for (std::size_t found; (found = text.find(from, at)) != std::string_view::npos; at = found + from.size())
    out.append(text.substr(at, found - at)).append(to);
  return out.append(text.substr(at));
}

/// Calls the library: what it refuses, and what it throws, is the model's fault.
template <class Call>
void guard_library(std::string_view where, Call&& call) {
  std::string problem;
  try {
    if (const auto status = call(); !status.ok()) problem = status.ToString();
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& error) {
    problem = error.what();
  }
  if (!problem.empty()) fail_input("{}: SentencePiece refuses this model: {}", where, problem);
}

std::filesystem::path file_in_folder(const std::filesystem::path& folder) {
  std::error_code missing;
  if (std::filesystem::exists(folder / kTokenizerFile, missing)) return folder / kTokenizerFile;
  std::vector<std::filesystem::path> found;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("tok") && name.ends_with(".bin")) found.push_back(entry.path());
  }
  if (found.size() == 1) return found[0];
  if (std::filesystem::exists(folder / "tokenizer.json", error))
    fail_input(
        "{} holds tokenizer.json, which this program does not read, and no {} (SentencePiece); name one with "
        "--tokenizer",
        folder.string(), kTokenizerFile);
  fail_input("{}: no {} in this folder; name the tokenizer's file", folder.string(), kTokenizerFile);
}

}  // namespace

struct Tokenizer::State {
  Vocabulary vocabulary;
  std::string file, where;
  std::uint64_t hash = 0;
  std::optional<TokenId> bos, eos, unk;
  std::string bytes;                  // what ids stand for, one after another
  std::vector<std::uint32_t> starts;  // of each id in bytes; one more at the end

  bool use_bpe = false;  // our own encoder; else the library's, whole texts at once
  ScoreBpe bpe;
  bool mark_is_space = false;  // U+2581 in text is read as a space, as the library does
  // Between which characters no piece reaches, so that a text may be cut there.
  bool cut_before_space = false, cut_before_newline = false, cut_after_newline = false;
  sentencepiece::SentencePieceProcessor library;

  void add_bytes(const Piece& piece);
  void find_cuts();
  void encode_whole(std::string_view text, bool begins, std::vector<TokenId>& ids) const;
  std::size_t word_end(std::string_view text, std::size_t begin) const;
};

void Tokenizer::State::add_bytes(const Piece& piece) {
  starts.push_back(static_cast<std::uint32_t>(bytes.size()));
  switch (piece.type) {
    case PieceType::control:
      break;
    case PieceType::unknown:
      bytes += vocabulary.unk_surface;
      break;
    case PieceType::byte:
      bytes.push_back(static_cast<char>(named_byte(piece.text)));
      break;
    default:
      bytes += vocabulary.kind == TokenizerKind::llama2c ? piece.text : replace_all(piece.text, kSpaceMark, " ");
  }
}

void Tokenizer::State::find_cuts() {
  cut_before_space = cut_before_newline = cut_after_newline = true;
  for (std::size_t id = 0; id < vocabulary.pieces.size(); ++id) {
    const PieceType type = vocabulary.pieces[id].type;
    if (type != PieceType::normal && type != PieceType::user_defined) continue;
    const std::string_view text = std::string_view(bytes).substr(starts[id], starts[id + 1] - starts[id]);
    for (std::size_t i = 1; i < text.size(); ++i) {
      if (text[i] == ' ' && text[i - 1] != ' ') cut_before_space = false;
      if (text[i] == '\n') cut_before_newline = false;
      if (text[i - 1] == '\n') cut_after_newline = false;
    }
  }
}

Tokenizer Tokenizer::load(const std::filesystem::path& path) {
  std::error_code error;
  const bool folder = std::filesystem::is_directory(path, error);
  const std::filesystem::path file = folder ? file_in_folder(path) : path;
  return from_bytes(read_file(file, kMaxFile), file.string());
}

Tokenizer Tokenizer::from_bytes(std::string bytes, std::string where) {
  auto state = std::make_shared<State>();
  State& s = *state;
  s.vocabulary = read_vocabulary(bytes, where);
  s.file = std::move(bytes);
  s.where = std::move(where);
  s.hash = hash_bytes(std::as_bytes(std::span(s.file)));
  const Vocabulary& v = s.vocabulary;

  int bytes_named = 0;
  bool unused = false;
  for (std::size_t i = 0; i < v.pieces.size(); ++i) {
    const auto id = static_cast<TokenId>(i);
    const Piece& piece = v.pieces[i];
    s.add_bytes(piece);
    if (piece.type == PieceType::control && piece.text == v.bos_piece && !s.bos) s.bos = id;
    if (piece.type == PieceType::control && piece.text == v.eos_piece && !s.eos) s.eos = id;
    if (piece.type == PieceType::unknown && !s.unk) s.unk = id;
    unused |= piece.type == PieceType::unused;
    if (piece.type == PieceType::byte) {
      s.bpe.set_byte(static_cast<std::uint8_t>(named_byte(piece.text)), id);
      ++bytes_named;
    }
  }
  s.starts.push_back(static_cast<std::uint32_t>(s.bytes.size()));
  for (std::size_t i = 0; i < v.pieces.size(); ++i) {
    const Piece& piece = v.pieces[i];
    if (piece.type != PieceType::normal && piece.type != PieceType::user_defined) continue;
    s.bpe.add_piece(std::string_view(s.bytes).substr(s.starts[i], s.starts[i + 1] - s.starts[i]), piece.score,
                    static_cast<TokenId>(i), piece.type == PieceType::user_defined);
  }

  s.bpe.finish();

  const bool sentencepiece = v.kind == TokenizerKind::sentencepiece;
  s.use_bpe = v.model_type == ModelType::bpe && v.identity && !v.remove_extra_whitespaces && v.byte_fallback &&
              bytes_named == 256 && !unused && (v.escape_whitespaces || !sentencepiece);
  s.mark_is_space = sentencepiece && v.record.empty();
  if (s.use_bpe) {
    s.find_cuts();
  } else {
    check_for_library(v, s.where);
    guard_library(s.where, [&] { return s.library.LoadFromSerializedProto(encoding_fields(s.file)); });
  }
  return Tokenizer(std::move(state));
}

std::vector<TokenId> Tokenizer::encode(std::string_view text) const {
  std::vector<TokenId> ids;
  Encoder(*this).encode(text, true, ids);
  return ids;
}

std::vector<TokenId> Tokenizer::encode_document(std::string_view text) const {
  std::vector<TokenId> ids;
  if (bos()) ids.push_back(*bos());
  Encoder(*this).encode(text, true, ids);
  return ids;
}

std::string Tokenizer::decode(std::span<const TokenId> ids) const {
  std::string text;
  bool at_start = true;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const TokenId id = ids[i];
    if (id >= vocabulary())
      fail_input("token {} is id {}, but {} has ids 0 to {}", i, id, state_->where, vocabulary() - 1);
    std::string_view added = bytes(id);
    if (at_start && adds_dummy_prefix() && added.starts_with(' ')) added.remove_prefix(1);
    if (id == bos())
      at_start = true;
    else if (!is_control(id))
      at_start = false;
    text += added;
  }
  return text;
}

std::size_t Tokenizer::vocabulary() const { return state_->vocabulary.pieces.size(); }
std::optional<TokenId> Tokenizer::bos() const { return state_->bos; }
std::optional<TokenId> Tokenizer::eos() const { return state_->eos; }
std::optional<TokenId> Tokenizer::unk() const { return state_->unk; }
bool Tokenizer::is_control(TokenId id) const { return state_->vocabulary.pieces[id].type == PieceType::control; }
std::string_view Tokenizer::piece(TokenId id) const { return state_->vocabulary.pieces[id].text; }
std::string_view Tokenizer::bytes(TokenId id) const {
  assert(id < vocabulary());
  return std::string_view(state_->bytes).substr(state_->starts[id], state_->starts[id + 1] - state_->starts[id]);
}
bool Tokenizer::adds_dummy_prefix() const { return state_->vocabulary.add_dummy_prefix; }
bool Tokenizer::encodes_parts() const { return state_->use_bpe; }
bool Tokenizer::exact() const { return state_->use_bpe && !state_->mark_is_space; }
const Vocabulary& Tokenizer::description() const { return state_->vocabulary; }
const std::string& Tokenizer::file_bytes() const { return state_->file; }
std::uint64_t Tokenizer::hash() const { return state_->hash; }

std::size_t Tokenizer::last_cut(std::string_view text) const {
  const State& s = *state_;
  if (!s.use_bpe) return 0;
  std::size_t best = 0;
  if (s.cut_after_newline) {
    const std::size_t newline = text.rfind('\n');
    if (newline != std::string_view::npos) best = newline + 1;
  }
  // Line ends first, since readers cut there; the space before a word only where a line is very long.
  if (best > 0 || !s.cut_before_space) return best;
  for (std::size_t i = text.size(); i-- > 1;)
    if (text[i] == ' ' && text[i - 1] != ' ' && !(s.mark_is_space && text.substr(0, i).ends_with(kSpaceMark))) return i;
  return 0;
}

/// The end of the stretch from `begin` on that is encoded by itself.
std::size_t Tokenizer::State::word_end(std::string_view text, std::size_t begin) const {
  for (std::size_t i = begin + 1; i < text.size(); ++i) {
    const char before = text[i - 1], here = text[i];
    if (here == ' ' && before != ' ' && cut_before_space) return i;
    if (here == '\n' && cut_before_newline) return i;
    if (before == '\n' && cut_after_newline) return i;
  }
  return text.size();
}

void Tokenizer::State::encode_whole(std::string_view text, bool begins, std::vector<TokenId>& ids) const {
  assert(begins && "texts are cut only where last_cut allows it");
  (void)begins;
  std::vector<int> found;
  guard_library(where, [&] { return library.Encode(text, &found); });
  for (const int id : found) ids.push_back(static_cast<TokenId>(id));
}

/// Words and their ids, in a table where a newcomer takes the place of whoever had its slot.
struct Encoder::Cache {
  static constexpr std::size_t kSlots = std::size_t{1} << 15;
  static constexpr std::size_t kBytes = 23, kIds = 9;
  struct alignas(64) Slot {
    std::uint64_t key[3] = {};  // the word, zeros, and its size in the last byte; size 0 is an empty slot
    std::uint32_t count = 0;
    TokenId ids[kIds];
  };
  static_assert(sizeof(Slot) == 64);
  std::vector<Slot> slots = std::vector<Slot>(kSlots);

  static void make_key(std::string_view word, std::uint64_t (&key)[3]) {
    char bytes[24] = {};
    __builtin_memcpy(bytes, word.data(), word.size());
    bytes[23] = static_cast<char>(word.size());
    __builtin_memcpy(key, bytes, sizeof(key));
  }
  Slot& slot(const std::uint64_t (&key)[3]) {
    std::uint64_t h = key[0] * 0x9E3779B97F4A7C15ull;
    h = (h ^ (h >> 32) ^ key[1]) * 0xC2B2AE3D27D4EB4Full;
    h = (h ^ (h >> 29) ^ key[2]) * 0x165667B19E3779F9ull;
    return slots[(h ^ (h >> 32)) % kSlots];
  }
};

Encoder::Encoder(Tokenizer tokenizer) : tokenizer_(std::move(tokenizer)) {}
Encoder::~Encoder() = default;
Encoder::Encoder(Encoder&&) noexcept = default;

void Encoder::encode_word(std::string_view word, std::vector<TokenId>& ids) {
  const ScoreBpe& bpe = tokenizer_.state_->bpe;
  if (!cache_ || word.size() > Cache::kBytes) return bpe.encode(word, ids, scratch_);
  std::uint64_t key[3];
  Cache::make_key(word, key);
  Cache::Slot& slot = cache_->slot(key);
  if (slot.key[0] == key[0] && slot.key[1] == key[1] && slot.key[2] == key[2]) {
    ids.insert(ids.end(), slot.ids, slot.ids + slot.count);
    return;
  }
  const std::size_t before = ids.size();
  bpe.encode(word, ids, scratch_);
  const std::size_t count = ids.size() - before;
  if (count > Cache::kIds) return;
  std::copy(key, key + 3, slot.key);
  slot.count = static_cast<std::uint32_t>(count);
  std::copy(ids.end() - static_cast<std::ptrdiff_t>(count), ids.end(), slot.ids);
}

void Encoder::encode(std::string_view text, bool begins, std::vector<TokenId>& ids) {
  const Tokenizer::State& s = *tokenizer_.state_;
  require_utf8(text, "the text");
  if (text.empty()) return;
  if (!s.use_bpe) return s.encode_whole(text, begins, ids);
  if (text.size() >= (std::size_t{1} << 31))
    fail_input("a text of {} bytes without a place to cut it; split it at lines or spaces", text.size());
  std::string changed;
  if (s.mark_is_space && text.find(kSpaceMark) != std::string_view::npos)
    text = changed = replace_all(text, kSpaceMark, " ");
  // Prompts are short: a table of 2 MiB pays only for long texts.
  if (!cache_ && text.size() >= 65536) cache_ = std::make_unique<Cache>();

  std::size_t at = 0;
  if (begins && s.vocabulary.add_dummy_prefix) {
    // The prefix is a space; it joins the spaces or the word that the text begins with.
    std::string first(" ");
    first += text;
    const std::size_t end = s.word_end(first, 0);
    s.bpe.encode(std::string_view(first).substr(0, end), ids, scratch_);
    at = end - 1;
  }
  while (at < text.size()) {
    const std::size_t end = s.word_end(text, at);
    encode_word(text.substr(at, end - at), ids);
    at = end;
  }
}

StreamDecoder::StreamDecoder(Tokenizer tokenizer, bool at_start)
    : tokenizer_(std::move(tokenizer)), at_start_(at_start) {}

std::string_view StreamDecoder::push(TokenId id) {
  held_.erase(0, shown_);
  shown_ = 0;
  if (id >= tokenizer_.vocabulary()) return {};
  std::string_view added = tokenizer_.bytes(id);
  if (at_start_ && tokenizer_.adds_dummy_prefix() && added.starts_with(' ')) added.remove_prefix(1);
  if (id == tokenizer_.bos())
    at_start_ = true;
  else if (!tokenizer_.is_control(id))
    at_start_ = false;
  held_ += added;
  shown_ = held_.size() - unfinished_utf8(held_);
  return std::string_view(held_).substr(0, shown_);
}

std::string_view StreamDecoder::finish() {
  held_.erase(0, shown_);
  shown_ = held_.size();
  return held_;
}

}  // namespace lowbit::text
