#pragma once
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "lowbit/text/tokenizer.h"

namespace lowbit::text {

/// A token that files beside the tokenizer add, or that stands in it as a control piece.
struct SpecialToken {
  std::string text;  ///< "<|im_start|>"
  TokenId id = 0;
  bool special = true;                  ///< it steers the model; otherwise it is a word like others
  bool lstrip = false, rstrip = false;  ///< white space before it, or behind it, belongs to it
  bool single_word = false;             ///< it counts only where no letter or digit touches it
};

/// How prompts become ids: by the tokenizer, and by what added_tokens.json, special_tokens_map.json and
/// tokenizer_config.json say beside it (docs/reference/formats.md, "Special tokens").
class PromptReader {
 public:
  /// folder      holds those files; each may be missing.
  /// vocabulary  ids that the model has: tokens beyond them are never made.
  /// throws Error(input): a file that cannot be read, or two that give one token two ids.
  PromptReader(Tokenizer tokenizer, const std::filesystem::path& folder, std::int64_t vocabulary);

  struct Ids {
    std::vector<TokenId> ids;
    std::vector<std::string> warnings;  ///< one line each: special tokens that were read as plain text, and why
  };
  /// The prompt behind the begin token (where there is one, and add_bos_token is not false). Added tokens that are
  /// words become their ids. Special tokens do with `special`; otherwise they are plain text, with a warning. throws
  /// Error(input) unless it is UTF-8.
  Ids encode(std::string_view prompt, bool special) const;
  /// What an id that the tokenizer lacks stands for: an added word's text; nothing for special and unknown ids.
  std::string_view added_text(TokenId id) const;

  const Tokenizer& tokenizer() const { return tokenizer_; }
  const std::vector<SpecialToken>& tokens() const { return tokens_; }
  bool begins() const { return begins_ && tokenizer_.bos(); }

 private:
  struct Unusable {
    std::string text, why;
  };
  void read_files(const std::filesystem::path& folder);
  void add(SpecialToken token, const std::string& where);
  const SpecialToken* match(std::string_view text, std::size_t at, bool special) const;

  Tokenizer tokenizer_;
  std::int64_t vocabulary_;
  bool begins_ = true;
  std::vector<SpecialToken> tokens_;  ///< longest first
  std::vector<Unusable> unusable_;
};

}  // namespace lowbit::text
