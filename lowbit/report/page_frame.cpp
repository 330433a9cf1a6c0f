#include "lowbit/report/page_frame.h"

#include <fmt/format.h>

#include "lowbit/report/page_assets.h"
#include "lowbit/report/svg_plot.h"
#include "lowbit/report/text.h"

namespace lowbit::report {

std::string page_of(const PageFrame& frame, std::span<const std::pair<const char*, std::string>> sections) {
  std::string links, body;
  for (const auto& [name, html] : sections) {
    if (html.empty()) continue;
    const std::size_t from = html.find("id=\"") + 4;
    links += fmt::format("<a href=\"#{}\">{}</a>", html.substr(from, html.find('"', from) - from), name);
    body += html;
  }
  std::string page =
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n"
      "<meta name=\"color-scheme\" content=\"light dark\"/>\n<link rel=\"icon\" href=\"data:,\"/>\n";
  page += "<title>" + escape(frame.title) + "</title>\n";
  page +=
      "<style>" + plot_css() + std::string(page_css()) + frame.css + "</style>\n</head>\n<body>\n<main>\n<header>\n";
  page += frame.header;
  if (!links.empty()) page += "<nav>" + links + "</nav>";
  page += "\n</header>\n" + (body.empty() ? frame.if_empty : body);
  page += "<footer>" + frame.footer + "</footer>\n</main>\n";
  page += "<script>" + std::string(page_script()) + "</script>\n</body>\n</html>\n";
  return page;
}

}  // namespace lowbit::report
