#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "lowbit/text/tokenizer.h"

namespace lowbit::test {

/// About `bytes` bytes of made-up English-like text, the same for a seed: words of a small grammar, punctuation,
/// numbers, paragraphs parted by blank lines, some accents and Chinese.
std::string sample_text(std::size_t bytes, std::uint64_t seed = 1);

/// Texts that tokenizers get wrong: spaces everywhere, line ends of all kinds, control characters, U+FEFF, U+2581,
/// emoji joined by U+200D, unassigned code points, the largest one, names of pieces.
std::vector<std::string> hard_texts();

/// `characters` random characters of all of Unicode (surrogates excepted), half of them ASCII or spaces.
std::string random_text(std::uint64_t seed, std::size_t characters);

/// UTF-8 of one code point.
std::string utf8_of(char32_t c);

/// A tokenizer of 600 ids trained on sample_text, made once.
const text::Tokenizer& sample_tokenizer();

void put_file(const std::filesystem::path& path, std::string_view bytes);
std::string get_file(const std::filesystem::path& path);

}  // namespace lowbit::test
