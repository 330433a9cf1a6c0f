#include "lowbit/text/tokenizer_train.h"

#include <sentencepiece_trainer.h>

#include <algorithm>
#include <unordered_set>
#include <utility>
#include <vector>

#include "lowbit/base/error.h"
#include "lowbit/base/interrupt.h"
#include "lowbit/files/json.h"
#include "lowbit/base/utf8.h"
#include "lowbit/text/vocabulary.h"

namespace lowbit::text {
namespace {

constexpr std::size_t kSpecial = 259;  // <unk>, <s>, </s> and 256 bytes
constexpr std::size_t kMinVocabulary = 264, kMaxVocabulary = 1000000;
constexpr double kCoverage = 0.9995;
// A word is cut after this many bytes: text without spaces would else give words without end, and no piece is longer
// than 16 characters.
constexpr std::size_t kLongestWord = 1024;
// Beyond this the table takes no new words, it only counts those that it has (60 MB of English novels take 8 MB).
constexpr std::size_t kTableBytes = std::size_t{96} << 20;

/// Flags of SentencePiece's trainer, all that bear on the result. num_threads is a constant, since it is recorded in
/// the model (it bears on nothing else here).
const std::vector<std::pair<std::string, std::string>> kFlags{
    {"model_type", "bpe"},
    {"input_format", "tsv"},
    {"character_coverage", "1.0"},
    {"byte_fallback", "true"},
    {"normalization_rule_name", "identity"},
    {"add_dummy_prefix", "false"},
    {"remove_extra_whitespaces", "false"},
    {"escape_whitespaces", "true"},
    {"split_by_whitespace", "true"},
    {"split_by_unicode_script", "true"},
    {"split_by_number", "true"},
    {"split_digits", "true"},
    {"treat_whitespace_as_suffix", "false"},
    {"allow_whitespace_only_pieces", "true"},
    {"max_sentencepiece_length", "16"},
    {"max_sentence_length", "4192"},
    {"input_sentence_size", "0"},
    {"shuffle_input_sentence", "false"},
    {"hard_vocab_limit", "false"},
    {"num_threads", "1"},
    {"unk_id", "0"},
    {"bos_id", "1"},
    {"eos_id", "2"},
    {"pad_id", "-1"},
};

/// Characters that SentencePiece keeps for itself or cannot learn, and control characters.
std::size_t separator_size(std::string_view text) {
  const auto c = static_cast<unsigned char>(text[0]);
  if (c < 0x20 || c == 0x7F) return 1;
  if (c == 0xE2 && (text.starts_with("\u2581") || text.starts_with("\u2585"))) return 3;
  return 0;
}

/// Word counts as SentencePiece's sentences: "word TAB count".
class WordIterator final : public sentencepiece::SentenceIterator {
 public:
  explicit WordIterator(const std::vector<std::pair<std::string, std::uint64_t>>& words) : words_(words) { make(); }
  bool done() const override { return at_ == words_.size(); }
  void Next() override {
    ++at_;
    make();
  }
  const std::string& value() const override { return line_; }
  sentencepiece::util::Status status() const override { return {}; }

 private:
  void make() {
    if (!done()) line_ = words_[at_].first + '\t' + std::to_string(words_[at_].second);
  }
  const std::vector<std::pair<std::string, std::uint64_t>>& words_;
  std::size_t at_ = 0;
  std::string line_;
};

using Words = std::vector<std::pair<std::string, std::uint64_t>>;

/// The characters that may be in pieces (see the header), of words in a fixed order.
std::unordered_set<std::string> choose_alphabet(const Words& words, std::size_t room) {
  std::unordered_map<std::string, std::uint64_t> counts;
  std::uint64_t total = 0;
  for (const auto& [word, count] : words)
    for (std::size_t i = 0; i < word.size();) {
      const std::size_t size = utf8_length(word[i]);
      counts[word.substr(i, size)] += count;
      total += count;
      i += size;
    }
  std::vector<std::pair<std::uint64_t, std::string>> sorted;
  for (const auto& [character, count] : counts) sorted.emplace_back(count, character);
  std::sort(sorted.begin(), sorted.end(),
            [](const auto& a, const auto& b) { return a.first != b.first ? a.first > b.first : a.second < b.second; });
  std::unordered_set<std::string> alphabet;
  std::uint64_t covered = 0;
  for (const auto& [count, character] : sorted) {
    if (alphabet.size() >= room || static_cast<double>(covered) >= kCoverage * static_cast<double>(total)) break;
    alphabet.insert(character);
    covered += count;
  }
  return alphabet;
}

/// Words without the characters outside the alphabet, cut where those stood.
Words keep_alphabet(const Words& words, const std::unordered_set<std::string>& alphabet) {
  Words kept;
  for (const auto& [word, count] : words) {
    std::size_t begin = 0;
    for (std::size_t i = 0; i <= word.size();) {
      const std::size_t size = i < word.size() ? utf8_length(word[i]) : 1;
      if (i == word.size() || !alphabet.contains(word.substr(i, size))) {
        if (i > begin) kept.emplace_back(word.substr(begin, i - begin), count);
        begin = i + size;
      }
      i += size;
    }
  }
  return kept;
}

std::string record_text(std::size_t vocabulary) {
  files::Json flags = files::Json::object();
  for (const auto& [name, value] : kFlags) flags[name] = value;
  files::Json record;
  record["trained_by"] = "lowbit";
  record["version"] = 1;
  record["vocabulary"] = vocabulary;
  record["alphabet_coverage"] = kCoverage;
  record["coded_as_bytes"] = "control characters, U+2581, U+2585, characters outside the alphabet";
  record["sentencepiece_flags"] = std::move(flags);
  return files::dump_line(record);
}

void append_varint(std::string& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
}

}  // namespace

TokenizerTrainer::TokenizerTrainer(std::size_t vocabulary) : vocabulary_(vocabulary) {
  if (vocabulary < kMinVocabulary || vocabulary > kMaxVocabulary)
    fail_usage("--vocab {} is out of range; a tokenizer has {} to {} ids (3 special ones and 256 bytes come first)",
               vocabulary, kMinVocabulary, kMaxVocabulary);
}

void TokenizerTrainer::count_word(std::string_view word) {
  const auto found = counts_.find(word);
  if (found != counts_.end()) {
    ++found->second;
  } else if (table_bytes_ < kTableBytes) {
    counts_.emplace(std::string(word), 1);
    table_bytes_ += word.size();
  }
}

void TokenizerTrainer::add(std::string_view text) {
  bytes_seen_ += text.size();
  std::size_t begin = 0;
  for (std::size_t i = 0; i < text.size();) {
    if (const std::size_t separator = separator_size(text.substr(i))) {
      if (i > begin) count_word(text.substr(begin, i - begin));
      i += separator;
      begin = i;
      continue;
    }
    const bool new_word = text[i] == ' ' && i > begin && text[i - 1] != ' ';
    const bool too_long = i - begin >= kLongestWord && !continues_utf8(text[i]);
    if (new_word || too_long) {
      count_word(text.substr(begin, i - begin));
      begin = i;
    }
    ++i;
  }
  if (begin < text.size()) count_word(text.substr(begin));
}

std::string TokenizerTrainer::train() const {
  Words words(counts_.begin(), counts_.end());
  std::sort(words.begin(), words.end());
  const auto alphabet = choose_alphabet(words, std::max<std::size_t>(1, (vocabulary_ - kSpecial) / 2));
  words = keep_alphabet(words, alphabet);
  if (words.empty()) fail_input("the text has no words to train a tokenizer on; give more text");

  std::unordered_map<std::string, std::string> flags(kFlags.begin(), kFlags.end());
  flags["vocab_size"] = std::to_string(vocabulary_);
  flags["minloglevel"] = "2";
  WordIterator iterator(words);
  std::string model;
  const auto status = [&] {
    const StopAtOnce stop("lowbit: stopped; no tokenizer was written\n");
    return sentencepiece::SentencePieceTrainer::Train(flags, &iterator, &model);
  }();
  if (!status.ok())
    fail_input("SentencePiece cannot train a tokenizer of {} pieces on this text: {}", vocabulary_, status.ToString());
  const std::size_t made = read_vocabulary(model, "the trained model").pieces.size();
  if (made < vocabulary_)
    fail_input("this text gives a tokenizer of at most {} pieces, not {}; use --vocab {} or more text", made,
               vocabulary_, made);

  const std::string record = record_text(vocabulary_);
  append_varint(model, std::uint64_t{kRecordField} << 3 | 2);
  append_varint(model, record.size());
  return model + record;
}

}  // namespace lowbit::text
