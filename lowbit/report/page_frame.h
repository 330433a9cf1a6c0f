#pragma once
#include <span>
#include <string>
#include <string_view>
#include <utility>

// What every report page is set in: one HTML file that loads nothing from elsewhere.
namespace lowbit::report {

struct PageFrame {
  std::string title;     ///< text
  std::string css;       ///< beside that of plots and pages
  std::string header;    ///< HTML above the links to the sections
  std::string if_empty;  ///< HTML in place of sections, when all are empty
  std::string footer;    ///< HTML
};

/// sections: the name of each in the links, and its HTML, which begins with the id of its element; empty ones are left
/// out.
std::string page_of(const PageFrame& frame, std::span<const std::pair<const char*, std::string>> sections);

}  // namespace lowbit::report
