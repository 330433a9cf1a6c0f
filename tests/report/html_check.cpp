#include "html_check.h"

#include <fmt/format.h>

#include <cctype>
#include <cstdlib>
#include <set>

namespace lowbit::report::test {
namespace {

bool name_char(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_' || c == ':'; }

std::string entity_error(std::string_view text) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c < 0x20 && c != '\n' && c != '\t') return fmt::format("control character {}", c);
    if (c != '&') continue;
    const std::size_t end = text.find(';', i);
    if (end == std::string_view::npos) return "a bare &";
    const std::string_view entity = text.substr(i + 1, end - i - 1);
    static const std::set<std::string_view> known = {"amp", "lt", "gt", "quot", "#39", "#160"};
    if (!known.contains(entity)) return fmt::format("unknown entity {}", entity);
  }
  return "";
}

}  // namespace

std::string markup_error(std::string_view s) {
  std::vector<std::string> open;
  std::size_t i = 0;
  while (i < s.size()) {
    if (s[i] != '<') {
      const std::size_t end = std::min(s.find('<', i), s.size());
      if (const auto error = entity_error(s.substr(i, end - i)); !error.empty()) return error;
      if (open.empty() && s.substr(i, end - i).find_first_not_of(" \n") != std::string_view::npos)
        return "text outside the document";
      i = end;
      continue;
    }
    if (s.substr(i).starts_with("<!DOCTYPE html>") || s.substr(i).starts_with("<?xml ")) {
      i = s.find('>', i) + 1;
      continue;
    }
    const bool closing = i + 1 < s.size() && s[i + 1] == '/';
    std::size_t j = i + 1 + closing;
    const std::size_t name_at = j;
    while (j < s.size() && name_char(s[j])) ++j;
    const std::string name(s.substr(name_at, j - name_at));
    if (name.empty()) return fmt::format("a bare < before \"{}\"", s.substr(i, 20));
    std::set<std::string> seen;
    while (true) {
      while (j < s.size() && std::isspace(static_cast<unsigned char>(s[j]))) ++j;
      if (j >= s.size()) return "document ends inside <" + name;
      if (s[j] == '>' || s[j] == '/') break;
      const std::size_t attribute_at = j;
      while (j < s.size() && name_char(s[j])) ++j;
      const std::string attribute(s.substr(attribute_at, j - attribute_at));
      if (attribute.empty() || j + 1 >= s.size() || s[j] != '=' || s[j + 1] != '"') return "bad attribute in <" + name;
      if (!seen.insert(attribute).second) return "attribute twice: " + attribute;
      const std::size_t end = s.find('"', j + 2);
      if (end == std::string_view::npos) return "unclosed attribute in <" + name;
      const std::string_view value = s.substr(j + 2, end - j - 2);
      if (value.find('<') != std::string_view::npos) return "raw < in attribute " + attribute;
      if (const auto error = entity_error(value); !error.empty()) return error;
      j = end + 1;
    }
    const bool empty = s[j] == '/';
    if (empty) ++j;
    if (j >= s.size() || s[j] != '>') return "bad end of <" + name;
    i = j + 1;
    if (closing) {
      if (open.empty() || open.back() != name)
        return fmt::format("</{}> closes {}", name, open.empty() ? "nothing" : "<" + open.back() + ">");
      open.pop_back();
    } else if (!empty) {
      open.push_back(name);
      if (name == "style" || name == "script") i = std::min(s.find("</" + name, i), s.size());
    }
  }
  return open.empty() ? "" : "never closed: <" + open.back() + ">";
}

std::vector<std::string> attribute_values(std::string_view s, std::string_view element, std::string_view attribute) {
  std::vector<std::string> values;
  const std::string start = fmt::format("<{} ", element), key = fmt::format(" {}=\"", attribute);
  for (std::size_t at = s.find(start); at != std::string_view::npos; at = s.find(start, at + 1)) {
    const std::string_view tag = s.substr(at, s.find('>', at) - at);
    if (const std::size_t k = tag.find(key); k != std::string_view::npos)
      values.emplace_back(tag.substr(k + key.size(), tag.find('"', k + key.size()) - k - key.size()));
  }
  return values;
}

std::vector<double> numbers_in(std::string_view text) {
  std::vector<double> numbers;
  const std::string copy(text);
  const char* at = copy.c_str();
  while (*at) {
    if (std::isdigit(static_cast<unsigned char>(*at)) || *at == '-' || *at == '.') {
      char* end = nullptr;
      numbers.push_back(std::strtod(at, &end));
      at = end == at ? at + 1 : end;
    } else {
      ++at;
    }
  }
  return numbers;
}

}  // namespace lowbit::report::test
