#include "lowbit/laws/points.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "lowbit/base/error.h"

namespace lowbit::laws {
namespace {

constexpr std::size_t kMostFormats = 1000;

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

bool same_word(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) { return lower(x) == lower(y); });
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view space = " \t\r\n";
  const std::size_t from = text.find_first_not_of(space);
  return from == std::string_view::npos ? "" : text.substr(from, text.find_last_not_of(space) - from + 1);
}

constexpr std::array<std::string_view, 4> kColumns{"N", "D", "format", "loss"};

/// Where each of kColumns stands.
std::array<std::size_t, 4> columns_of(const std::vector<std::string>& header, std::string_view where) {
  std::array<std::size_t, 4> at{};
  for (std::size_t c = 0; c < kColumns.size(); ++c) {
    const auto is = [&](const std::string& name) { return same_word(name, kColumns[c]); };
    const auto found = std::find_if(header.begin(), header.end(), is);
    if (found == header.end())
      fail_input("{}: there is no column '{}'; the header must name N,D,format,loss, and it names {}", where,
                 kColumns[c], fmt::join(header, ","));
    if (std::find_if(found + 1, header.end(), is) != header.end())
      fail_input("{}: there are two columns '{}'", where, kColumns[c]);
    at[c] = static_cast<std::size_t>(found - header.begin());
  }
  return at;
}

double number_of(const std::string& text, std::string_view column, std::string_view where, std::string_view meaning) {
  const auto value = parse_count(text);
  if (!value || !std::isfinite(*value) || !(*value > 0))
    fail_input("{}: {} is '{}', wanted {}", where, column, text, meaning);
  return *value;
}

}  // namespace

std::vector<std::string> cells_of(std::string_view line, std::string_view where) {
  std::vector<std::string> cells(1);
  bool quoted = false;
  for (std::size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (c == '"' && quoted && i + 1 < line.size() && line[i + 1] == '"') {
      cells.back() += c;
      ++i;
    } else if (c == '"') {
      quoted = !quoted;
    } else if (c == ',' && !quoted) {
      cells.emplace_back();
    } else {
      cells.back() += c;
    }
  }
  if (quoted) fail_input("{}: a quote is opened and not closed", where);
  for (std::string& cell : cells) cell = std::string(trimmed(cell));
  return cells;
}

std::optional<double> parse_count(std::string_view text) {
  std::string digits;
  for (const char c : trimmed(text))
    if (c != '_' && c != ',') digits += c;
  double value = 0;
  const char* begin = digits.data();
  const char* end = begin + digits.size();
  if (begin != end && *begin == '+') ++begin;
  const auto [after, error] = std::from_chars(begin, end, value);
  if (error != std::errc()) return std::nullopt;
  if (after == end) return value;
  if (after + 1 != end) return std::nullopt;
  switch (*after) {
    case 'k':
    case 'K':
      return value * 1e3;
    case 'm':
    case 'M':
      return value * 1e6;
    case 'g':
    case 'G':
    case 'b':
    case 'B':
      return value * 1e9;
    case 't':
    case 'T':
      return value * 1e12;
    default:
      return std::nullopt;
  }
}

std::optional<std::size_t> Points::find(std::string_view name) const {
  for (std::size_t i = 0; i < formats.size(); ++i)
    if (same_word(formats[i], name)) return i;
  return std::nullopt;
}

std::size_t Points::format(std::string_view name) {
  if (const auto found = find(name)) return *found;
  if (formats.size() == kMostFormats)
    fail_input("more than {} formats; a law has parameters for each, so name the ones to fit", kMostFormats);
  formats.emplace_back(name);
  return formats.size() - 1;
}

Points read_csv(std::string_view text, std::string_view where) {
  Points result;
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);  // a byte order mark, as spreadsheets write it
  std::optional<std::array<std::size_t, 4>> columns;
  std::size_t without_loss = 0, line_number = 0;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = trimmed(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    ++line_number;
    if (line.empty() || line.front() == '#') continue;
    const std::string place = fmt::format("{}:{}", where, line_number);
    const std::vector<std::string> cells = cells_of(line, place);
    if (!columns) {
      columns = columns_of(cells, place);
      continue;
    }
    const std::size_t most = *std::max_element(columns->begin(), columns->end());
    if (cells.size() <= most)
      fail_input(
          "{}: {} cells, but column '{}' is number {}", place, cells.size(),
          kColumns[static_cast<std::size_t>(std::max_element(columns->begin(), columns->end()) - columns->begin())],
          most + 1);
    const auto cell = [&](std::size_t c) -> const std::string& { return cells[(*columns)[c]]; };
    if (cell(3).empty() || cell(3) == "-") {
      ++without_loss;
      continue;
    }
    if (cell(2).empty()) fail_input("{}: the format is empty; write a name, as w4a4", place);
    Point point;
    point.n = number_of(cell(0), "N", place, "a number of parameters, as 30482560 or 30M");
    point.d = number_of(cell(1), "D", place, "a number of tokens, as 2999975936 or 3B");
    point.loss = number_of(cell(3), "loss", place, "nats per token, above 0");
    point.format = result.format(cell(2));
    point.where = place;
    result.points.push_back(std::move(point));
  }
  if (!columns) fail_input("{}: is empty; the first line must name the columns N,D,format,loss", where);
  if (without_loss > 0)
    result.notes.push_back(fmt::format("{} row{} of {} without a loss {} left out.", without_loss,
                                       without_loss == 1 ? "" : "s", where, without_loss == 1 ? "was" : "were"));
  if (result.points.empty()) fail_input("{}: holds no runs with a loss; a law needs some of several sizes", where);
  return result;
}

}  // namespace lowbit::laws
