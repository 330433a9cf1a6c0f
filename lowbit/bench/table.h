#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace lowbit::bench {

/// Rows of words under headings, written for people (aligned), as Markdown, or as CSV (RFC 4180).
struct Table {
  std::vector<std::string> headings;
  std::vector<std::vector<std::string>> rows;  ///< each as long as headings
  std::size_t left = 1;                        ///< so many columns are words, the others numbers (aligned to the right)

  std::string text() const;
  std::string markdown() const;
  std::string csv() const;
};

/// Three digits that count: "0.0123", "4.56", "78.9", "1234".
std::string short_number(double value);

}  // namespace lowbit::bench
