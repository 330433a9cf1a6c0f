#pragma once
#include <string_view>

namespace lowbit::report {

/// The style sheet of report pages, on top of plot_css().
std::string_view page_css();
/// A small script that shows the values under the pointer. Pages read the same without it.
std::string_view page_script();

}  // namespace lowbit::report
