#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace lowbit::report::test {

/// What is wrong with a document's tags, attributes and entities, or nothing: every element closed in order, attributes
/// quoted, unique and without raw '<', entities known, no raw control characters. Style and script are skipped as text.
std::string markup_error(std::string_view document);

/// The text of an attribute of every element that has it, in order.
std::vector<std::string> attribute_values(std::string_view document, std::string_view element,
                                          std::string_view attribute);

/// Every number in some SVG path data or other text.
std::vector<double> numbers_in(std::string_view text);

}  // namespace lowbit::report::test
