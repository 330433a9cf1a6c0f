#include "sample_text.h"

#include <array>
#include <fstream>
#include <iterator>

#include "lowbit/base/rng.h"
#include "lowbit/text/tokenizer_train.h"

namespace lowbit::test {

std::string sample_text(std::size_t bytes, std::uint64_t seed) {
  constexpr std::array words{"the",      "house",   "of",     "river",  "and",    "walked", "under",   "singing",
                             "never",    "again",   "winter", "summer", "little", "garden", "captain", "morning",
                             "remember", "without", "don't",  "naïve",  "café",   "thing",  "things",  "something",
                             "nothing",  "1",       "42",     "1905",   "I",      "you",    "we",      "她走了"};
  const Rng rng(seed);
  std::string text;
  std::uint64_t draw = 0;
  while (text.size() < bytes) {
    const std::size_t sentences = 1 + rng.below(draw++, 6);
    for (std::size_t s = 0; s < sentences; ++s) {
      const std::size_t count = 3 + rng.below(draw++, 12);
      for (std::size_t w = 0; w < count; ++w) {
        std::string word = words[rng.below(draw++, words.size())];
        // Now and then a made-up word, so that vocabularies have something to learn.
        if (rng.below(draw++, 4) == 0) {
          word.clear();
          const std::size_t length = 2 + rng.below(draw++, 7);
          for (std::size_t i = 0; i < length; ++i) word += static_cast<char>('a' + rng.below(draw++, 26));
        }
        if (w == 0 && word[0] >= 'a' && word[0] <= 'z') word[0] = static_cast<char>(word[0] - 'a' + 'A');
        text += word;
        text += w + 1 < count ? (rng.below(draw++, 12) == 0 ? ", " : " ") : ".";
      }
      if (s + 1 < sentences) text += ' ';
    }
    text += "\n\n";
  }
  return text;
}

std::vector<std::string> hard_texts() {
  using namespace std::string_literals;
  return {"",
          " ",
          "  ",
          "\n",
          "\n\n\n",
          "\t",
          "\r\n",
          "line\r\nline\r\n",
          "a\n b\n  c \n",
          " leading",
          "trailing ",
          "  two  spaces   three  ",
          "tab\tand\ttab\n\tindent",
          "\0"s,
          "nul\0inside\0"s,
          "\x01\x02\x1f\x7f",
          "\u0085\u00a0\u2003\u3000\u2028\u2029",
          "\uFEFFafter a mark",
          "\u2581",
          "\u2581\u2581 \u2581 a\u2581b \u2581c\u2581 ",
          " \u2581\n\u2581 ",
          "\u2585 \u2047 \uFFFD \uFFFC",
          "<unk> <s> </s> <0x41> <0x0A> <pad>",
          "\u2581<s>",
          "\U0001F680 (normal) \U0001F636\u200D\U0001F32B\uFE0F \u2705",
          "e\u0301 e\u0301\u0301 \u00e9",
          "\u0378\u0379\U000E0080\uFDD0\uFFFE\uFFFF\U0001FFFF\U0010FFFF",
          "\uE000\U000F0000\u05D0\u05D1\u0627\u0644",
          "\u6211\u60f3\u5728apple\u5de5\u4f5c1314151\u5929\uff5e",
          "1234567890 3.14 1,000",
          "Hello, y'all! How are you?",
          "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
          std::string(5000, ' '),
          std::string(5000, '\n'),
          std::string(5000, 'x')};
}

std::string utf8_of(char32_t c) {
  std::string s;
  const auto put = [&](std::uint32_t byte) { s.push_back(static_cast<char>(byte)); };
  if (c < 0x80)
    put(c);
  else if (c < 0x800)
    put(0xC0 | c >> 6), put(0x80 | (c & 63));
  else if (c < 0x10000)
    put(0xE0 | c >> 12), put(0x80 | (c >> 6 & 63)), put(0x80 | (c & 63));
  else
    put(0xF0 | c >> 18), put(0x80 | (c >> 12 & 63)), put(0x80 | (c >> 6 & 63)), put(0x80 | (c & 63));
  return s;
}

std::string random_text(std::uint64_t seed, std::size_t characters) {
  constexpr std::array<char32_t, 10> common{' ', ' ', '\n', '\t', 0x2581, 0x2585, 'e', 't', 0, '\r'};
  const Rng rng(seed);
  std::string text;
  for (std::size_t i = 0; i < characters; ++i) {
    char32_t c = 0;
    switch (rng.below(3 * i, 8)) {
      case 0:
      case 1:
        c = common[rng.below(3 * i + 1, common.size())];
        break;
      case 2:
      case 3:
      case 4:
        c = static_cast<char32_t>(rng.below(3 * i + 1, 0x80));
        break;
      case 5:
        c = static_cast<char32_t>(rng.below(3 * i + 1, 0x800));
        break;
      case 6:
        c = static_cast<char32_t>(rng.below(3 * i + 1, 0x10000));
        break;
      default:
        c = static_cast<char32_t>(rng.below(3 * i + 1, 0x110000));
    }
    if (c >= 0xD800 && c < 0xE000) c = 'x';
    text += utf8_of(c);
  }
  return text;
}

const text::Tokenizer& sample_tokenizer() {
  static const text::Tokenizer tokenizer = [] {
    text::TokenizerTrainer trainer(600);
    trainer.add(sample_text(200000));
    return text::Tokenizer::from_bytes(trainer.train(), "the sample tokenizer");
  }();
  return tokenizer;
}

void put_file(const std::filesystem::path& path, std::string_view bytes) {
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

std::string get_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace lowbit::test
