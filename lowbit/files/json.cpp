#include "lowbit/files/json.h"

#include <algorithm>
#include <set>

#include "lowbit/base/file_map.h"

namespace lowbit::files {
namespace {

constexpr int kMaxDepth = 64;
constexpr std::size_t kMaxFileBytes = std::size_t{256} << 20;

/// One line of printable text, however odd the bytes that the parser quotes.
std::string printable(std::string_view text, std::size_t limit) {
  std::string out;
  for (const char c : text.substr(0, limit)) out += c >= 0x20 && c < 0x7f ? c : '?';
  if (text.size() > limit) out += "...";
  return out;
}

/// What the parser says, without its own prefix and position (we give a line).
std::string reason(std::string_view what) {
  if (const auto at = what.find("syntax error"); at != std::string_view::npos)
    what.remove_prefix(at);
  else if (const auto end = what.find("] "); end != std::string_view::npos)
    what.remove_prefix(end + 2);
  return printable(what, 160);
}

std::size_t line_of(std::string_view text, std::size_t byte) {
  byte = std::min(byte, text.size());
  return 1 + static_cast<std::size_t>(std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(byte), '\n'));
}

template <class J>
J parse(std::string_view text, std::string_view where) {
  // The parser keeps the last of two equal keys in silence; a file with both is damaged or hostile.
  std::vector<std::set<std::string>> keys;
  const typename J::parser_callback_t callback = [&](int depth, typename J::parse_event_t event, J& parsed) {
    using Event = typename J::parse_event_t;
    if ((event == Event::object_start || event == Event::array_start) && depth > kMaxDepth)
      fail_input("{}: JSON nested more than {} deep", where, kMaxDepth);
    if (event == Event::object_start) keys.emplace_back();
    if (event == Event::object_end && !keys.empty()) keys.pop_back();
    if (event == Event::key && !keys.empty()) {
      const auto& key = parsed.template get_ref<const std::string&>();
      if (!keys.back().insert(key).second) fail_input("{}: the key \"{}\" stands twice", where, printable(key, 80));
    }
    return true;
  };
  try {
    return J::parse(text, callback);
  } catch (const typename J::parse_error& error) {
    fail_input("{}:{}: not JSON: {}", where, line_of(text, error.byte > 0 ? error.byte - 1 : 0), reason(error.what()));
  } catch (const typename J::exception& error) {  // a number out of range
    fail_input("{}: not JSON: {}", where, reason(error.what()));
  }
}

}  // namespace

Json parse_json(std::string_view text, std::string_view where) { return parse<Json>(text, where); }
nlohmann::json parse_large_json(std::string_view text, std::string_view where) {
  return parse<nlohmann::json>(text, where);
}

Json read_json(const std::filesystem::path& path) { return parse_json(read_file(path, kMaxFileBytes), path.string()); }

std::string dump_line(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }
std::string dump_pretty(const Json& json) { return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n"; }

std::string_view json_kind(const Json& value) {
  if (value.is_null()) return "null";
  if (value.is_boolean()) return "true or false";
  if (value.is_number_integer()) return "a whole number";
  if (value.is_number()) return "a number";
  if (value.is_string()) return "a text";
  if (value.is_array()) return "a list";
  return "an object";
}

std::string json_excerpt(const Json& value) { return printable(dump_line(value), 60); }

void require_object(const Json& json, std::string_view where) {
  if (!json.is_object()) fail_input("{}: {} where an object with keys is wanted", where, json_kind(json));
}

void refuse_unknown_keys(const Json& json, std::span<const std::string_view> allowed, std::string_view where) {
  require_object(json, where);
  std::string unknown;
  for (const auto& [key, value] : json.items())
    if (std::find(allowed.begin(), allowed.end(), key) == allowed.end())
      unknown += (unknown.empty() ? "\"" : ", \"") + printable(key, 80) + "\"";
  if (!unknown.empty()) fail_input("{}: unknown key {}; known are {}", where, unknown, fmt::join(allowed, ", "));
}

namespace detail {

void wrong_kind(std::string_view key, std::string_view where, const Json& value, std::string_view wanted) {
  fail_input("{}: \"{}\" is {}, wanted {}", where, key, json_excerpt(value), wanted);
}

void out_of_range(std::string_view key, std::string_view where, const Json& value) {
  fail_input("{}: \"{}\" is {}, which is out of range", where, key, json_excerpt(value));
}

const Json& member(const Json& json, std::string_view key, std::string_view where) {
  require_object(json, where);
  const auto found = json.find(std::string(key));
  if (found == json.end()) fail_input("{}: the key \"{}\" is missing", where, key);
  return *found;
}

}  // namespace detail
}  // namespace lowbit::files
