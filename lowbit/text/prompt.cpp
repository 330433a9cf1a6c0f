#include "lowbit/text/prompt.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <optional>
#include <set>
#include <system_error>

#include "lowbit/base/error.h"
#include "lowbit/base/utf8.h"
#include "lowbit/files/json.h"

namespace lowbit::text {
namespace {

namespace fs = std::filesystem;
using files::Json;

bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) || static_cast<unsigned char>(c) >= 0x80; }

/// A JSON object of the folder, or nothing where there is no such file.
std::optional<Json> read(const fs::path& path) {
  std::error_code error;
  if (!fs::exists(path, error)) return std::nullopt;
  Json json = files::read_json(path);
  files::require_object(json, path.string());
  return json;
}

/// A token as special_tokens_map.json has it: a text, or an object with "content".
std::string content_of(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_object())
    if (const auto found = value.find("content"); found != value.end() && found->is_string())
      return found->get<std::string>();
  return {};
}

TokenId id_of(const std::string& digits, const std::string& where) {
  std::uint64_t id = 0;
  const bool good = !digits.empty() && digits.size() <= 9 &&
                    std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (!good) fail_input("{}: added_tokens_decoder: {} is no token id", where, files::json_excerpt(Json(digits)));
  for (const char c : digits) id = 10 * id + static_cast<std::uint64_t>(c - '0');
  return static_cast<TokenId>(id);
}

std::string shown(std::string_view text) { return files::json_excerpt(Json(std::string(text))); }

}  // namespace

PromptReader::PromptReader(Tokenizer tokenizer, const fs::path& folder, std::int64_t vocabulary)
    : tokenizer_(std::move(tokenizer)), vocabulary_(vocabulary) {
  read_files(folder);
  // The tokenizer's own control pieces: those that the files do not name too.
  std::set<std::string, std::less<>> known;
  for (const SpecialToken& token : tokens_) known.insert(token.text);
  for (TokenId id = 0; id < tokenizer_.vocabulary() && static_cast<std::int64_t>(id) < vocabulary_; ++id)
    if (tokenizer_.is_control(id) && !known.contains(tokenizer_.piece(id)))
      tokens_.push_back({std::string(tokenizer_.piece(id)), id});
  std::ranges::stable_sort(tokens_,
                           [](const SpecialToken& a, const SpecialToken& b) { return a.text.size() > b.text.size(); });
}

void PromptReader::read_files(const fs::path& folder) {
  const fs::path config = folder / "tokenizer_config.json", added = folder / "added_tokens.json",
                 map = folder / "special_tokens_map.json";
  std::map<std::string, TokenId> ids;    // of each text
  std::map<TokenId, std::string> texts;  // and the other way round
  std::map<std::string, SpecialToken> found;
  const auto note = [&](SpecialToken token, const fs::path& where) {
    if (token.text.empty()) return;
    const auto [id, fresh] = ids.emplace(token.text, token.id);
    if (id->second != token.id)
      fail_input("{} says two things: {} has the id {}, and {}", where.string(), shown(token.text), token.id,
                 id->second);
    const auto [text, alone] = texts.emplace(token.id, token.text);
    if (text->second != token.text)
      fail_input("{} says two things: id {} is {}, and {}", where.string(), token.id, shown(token.text),
                 shown(text->second));
    if (fresh) found.emplace(token.text, token);
  };
  std::set<std::string> special;  // named as such, with or without an id
  if (const auto json = read(config)) {
    const std::string where = config.string();
    begins_ = files::optional<bool>(*json, "add_bos_token", true, where);
    if (const auto decoder = json->find("added_tokens_decoder"); decoder != json->end() && decoder->is_object())
      for (const auto& [digits, value] : decoder->items()) {
        if (!value.is_object())
          fail_input("{}: added_tokens_decoder: {} is {}", where, shown(digits), files::json_excerpt(value));
        SpecialToken token{content_of(value), id_of(digits, where)};
        token.special = files::optional<bool>(value, "special", false, where);
        token.lstrip = files::optional<bool>(value, "lstrip", false, where);
        token.rstrip = files::optional<bool>(value, "rstrip", false, where);
        token.single_word = files::optional<bool>(value, "single_word", false, where);
        note(std::move(token), config);
      }
  }
  if (const auto json = read(added))
    for (const auto& [text, id] : json->items())
      note({text, files::required<TokenId>(*json, text, added.string()), false}, added);
  if (const auto json = read(map))
    for (const auto& [name, value] : json->items()) {
      if (!value.is_array()) special.insert(content_of(value));
      if (value.is_array())
        for (const Json& element : value) special.insert(content_of(element));
    }
  special.erase("");
  for (auto& [text, token] : found) {
    token.special = token.special || special.contains(text);
    add(token, folder.string());
  }
  // Named as special without an id: a piece of the tokenizer has it, or nothing.
  for (const std::string& text : special) {
    if (found.contains(text)) continue;
    std::optional<TokenId> id;
    for (TokenId i = 0; i < tokenizer_.vocabulary() && !id; ++i)
      if (tokenizer_.piece(i) == text) id = i;
    if (id)
      add({text, *id}, folder.string());
    else
      unusable_.push_back({text, "no file gives its id"});
  }
}

void PromptReader::add(SpecialToken token, const std::string& where) {
  if (static_cast<std::int64_t>(token.id) >= vocabulary_) {
    unusable_.push_back(
        {token.text, fmt::format("its id {} is outside the model's vocabulary of {}", token.id, vocabulary_)});
    return;
  }
  if (token.id < tokenizer_.vocabulary()) {
    const std::string_view piece = tokenizer_.piece(token.id);
    if (piece != token.text && tokenizer_.bytes(token.id) != token.text) {
      unusable_.push_back({token.text, fmt::format("{} gives it the id {}, which is {} in the tokenizer", where,
                                                   token.id, shown(piece))});
      return;
    }
    // The tokenizer finds its own words by itself.
    if (!token.special && tokenizer_.description().pieces[token.id].type == PieceType::user_defined) return;
    if (tokenizer_.description().pieces[token.id].type == PieceType::unknown) return;
  }
  tokens_.push_back(std::move(token));
}

/// The longest token that stands at a place of the text.
const SpecialToken* PromptReader::match(std::string_view text, std::size_t at, bool special) const {
  for (const SpecialToken& token : tokens_) {
    if (token.special != special || token.text[0] != text[at] || !text.substr(at).starts_with(token.text)) continue;
    const std::size_t end = at + token.text.size();
    if (token.single_word && ((at > 0 && is_word(text[at - 1])) || (end < text.size() && is_word(text[end])))) continue;
    return &token;
  }
  return nullptr;
}

PromptReader::Ids PromptReader::encode(std::string_view prompt, bool special) const {
  require_utf8(prompt, "the prompt");
  Ids out;
  std::set<std::string> plain;
  bool first[256] = {};
  for (const SpecialToken& token : tokens_) first[static_cast<unsigned char>(token.text[0])] = true;
  Encoder encoder(tokenizer_);
  // Behind a token a text does not begin anew, so no space is added there. Where texts are encoded as wholes only
  // (models that the library encodes), each part is a text of its own.
  const bool in_parts = tokenizer_.encodes_parts();
  const auto add_text = [&](std::size_t begin, std::size_t end) {
    if (begin < end) encoder.encode(prompt.substr(begin, end - begin), begin == 0 || !in_parts, out.ids);
  };
  if (begins()) out.ids.push_back(*tokenizer_.bos());
  std::size_t from = 0;
  for (std::size_t at = 0; at < prompt.size();) {
    if (!first[static_cast<unsigned char>(prompt[at])]) {
      ++at;
      continue;
    }
    const SpecialToken* steering = match(prompt, at, true);
    const SpecialToken* token = match(prompt, at, false);
    if (steering && (!token || steering->text.size() >= token->text.size())) {
      if (special)
        token = steering;
      else
        plain.insert(steering->text);
    }
    if (!token) {
      ++at;
      continue;
    }
    std::size_t begin = at, end = at + token->text.size();
    while (token->lstrip && begin > from && is_space(prompt[begin - 1])) --begin;
    while (token->rstrip && end < prompt.size() && is_space(prompt[end])) ++end;
    add_text(from, begin);
    // A prompt that writes its begin token has it already.
    if (!(token->id == tokenizer_.bos() && begin == 0 && out.ids.size() == 1 && begins())) out.ids.push_back(token->id);
    from = at = end;
  }
  add_text(from, prompt.size());
  for (const std::string& text : plain)
    out.warnings.push_back(
        fmt::format("the prompt's {} is read as plain text; --special-tokens reads it as the token", shown(text)));
  for (const Unusable& token : unusable_)
    if (prompt.find(token.text) != std::string_view::npos)
      out.warnings.push_back(fmt::format("the prompt's {} is read as plain text: {}", shown(token.text), token.why));
  return out;
}

std::string_view PromptReader::added_text(TokenId id) const {
  if (id < tokenizer_.vocabulary()) return {};
  for (const SpecialToken& token : tokens_)
    if (token.id == id && !token.special) return token.text;
  return {};
}

}  // namespace lowbit::text
