#include "lowbit/laws/bits.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <string>

namespace lowbit::laws {
namespace {

std::string lowered(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  return out;
}

/// The number at the start of a text, and how long it is.
std::optional<std::pair<double, std::size_t>> number_at(std::string_view text) {
  if (text.empty() || text.front() < '0' || text.front() > '9') return std::nullopt;
  std::size_t length = 0;  // digits and one point: not the exponent that from_chars would read
  while (length < text.size() &&
         ((text[length] >= '0' && text[length] <= '9') ||
          (text[length] == '.' && length + 1 < text.size() && text[length + 1] >= '0' && text[length + 1] <= '9')))
    ++length;
  double value = 0;
  std::from_chars(text.data(), text.data() + length, value);
  return std::pair(value, length);
}

bool letter(char c) { return c >= 'a' && c <= 'z'; }

std::optional<Bits> dense_bits(const std::string& name) {
  for (std::size_t i = 0; i + 1 < name.size(); ++i) {
    if (name[i] != 'w' || (i > 0 && letter(name[i - 1]))) continue;
    const auto weight = number_at(std::string_view(name).substr(i + 1));
    if (!weight) continue;
    const std::size_t next = i + 1 + weight->second;
    if (next >= name.size() || name[next] != 'a') continue;
    const auto activation = number_at(std::string_view(name).substr(next + 1));
    if (activation) return Bits{weight->first, activation->first};
  }
  for (const std::string_view word : {"bf", "fp", "float", "int", "f"}) {
    for (std::size_t i = name.find(word); i != std::string::npos; i = name.find(word, i + 1)) {
      const auto bits = number_at(std::string_view(name).substr(i + word.size()));
      if (!bits) continue;
      const double b = bits->first == 32 ? 16 : bits->first;
      if (b > 0 && b <= 16) return Bits{b, b};
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<Bits> bits_of(std::string_view format) {
  const std::string name = lowered(format);
  auto bits = dense_bits(name);
  if (bits && (bits->weight <= 0 || bits->activation <= 0)) return std::nullopt;
  if (bits && (name.find("2:4") != std::string::npos || name.find("4:8") != std::string::npos))
    bits->weight = bits->weight / 2 + 0.5;
  return bits;
}

bool is_full_precision(std::string_view format) {
  constexpr std::array<std::string_view, 9> names{"bf16",    "f32",     "fp16",   "fp32",    "f16",
                                                  "float32", "float16", "w16a16", "bfloat16"};
  return std::find(names.begin(), names.end(), lowered(format)) != names.end();
}

}  // namespace lowbit::laws
