#include "lowbit/bench/table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace lowbit::bench {

std::string Table::text() const {
  std::vector<std::size_t> width(headings.size());
  for (std::size_t c = 0; c < headings.size(); ++c) {
    width[c] = headings[c].size();
    for (const auto& row : rows) width[c] = std::max(width[c], row[c].size());
  }
  std::string out;
  const auto line = [&](const std::vector<std::string>& row) {
    std::string text;
    for (std::size_t c = 0; c < row.size(); ++c) {
      if (c > 0) text += "  ";
      text += c < left ? fmt::format("{:<{}}", row[c], width[c]) : fmt::format("{:>{}}", row[c], width[c]);
    }
    while (!text.empty() && text.back() == ' ') text.pop_back();
    out += text + "\n";
  };
  line(headings);
  for (const auto& row : rows) line(row);
  return out;
}

std::string Table::markdown() const {
  std::string out;
  const auto line = [&](const std::vector<std::string>& row) { out += fmt::format("| {} |\n", fmt::join(row, " | ")); };
  line(headings);
  out += "|";
  for (std::size_t c = 0; c < headings.size(); ++c) out += c < left ? "---|" : "---:|";
  out += "\n";
  for (const auto& row : rows) line(row);
  return out;
}

std::string Table::csv() const {
  std::string out;
  const auto line = [&](const std::vector<std::string>& row) {
    for (std::size_t c = 0; c < row.size(); ++c) {
      std::string cell = row[c];
      if (cell.find_first_of(",\"\n") != std::string::npos) {
        for (std::size_t at = 0; (at = cell.find('"', at)) != std::string::npos; at += 2) cell.insert(at, 1, '"');
        cell = '"' + cell + '"';
      }
      out += (c > 0 ? "," : "") + cell;
    }
    out += "\n";
  };
  line(headings);
  for (const auto& row : rows) line(row);
  return out;
}

std::string short_number(double value) {
  const double size = std::abs(value);
  if (size == 0) return "0";
  const int digits = static_cast<int>(std::floor(std::log10(size)));
  return fmt::format("{:.{}f}", value, std::clamp(2 - digits, 0, 6));
}

}  // namespace lowbit::bench
