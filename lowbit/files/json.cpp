#include "lowbit/files/json.h"

#include <algorithm>
#include <unordered_set>
#include <utility>

#include "lowbit/base/file_map.h"

namespace lowbit::files {
namespace {

constexpr std::size_t kMaxDepth = 64;
constexpr std::size_t kMaxFileBytes = std::size_t{64} << 20;
constexpr std::size_t kMaxValues = std::size_t{1} << 22;  // each takes up to about 100 bytes of memory
constexpr std::size_t kMaxNamed = 8;                      // unknown keys in one message

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

/// Makes a value of what the parser meets. Not the library's own callback: it looks through a container once for each
/// container inside it, so 40,000 empty objects in one take half a minute. Nor its insertion into ordered objects,
/// which looks through all keys for each.
template <class J>
class Builder {
 public:
  Builder(std::string_view text, std::string_view where) : text_(text), where_(where) {}
  J take() { return std::move(root_); }

  bool null() { return add(nullptr); }
  bool boolean(bool value) { return add(value); }
  bool number_integer(typename J::number_integer_t value) { return add(value); }
  bool number_unsigned(typename J::number_unsigned_t value) { return add(value); }
  bool number_float(typename J::number_float_t value, const typename J::string_t&) { return add(value); }
  bool string(typename J::string_t& value) { return add(std::move(value)); }
  bool binary(typename J::binary_t&) { return add(nullptr); }  // no JSON text has one
  bool start_object(std::size_t) { return open(J::object()); }
  bool start_array(std::size_t) { return open(J::array()); }
  bool end_object() { return open_.pop_back(), true; }
  bool end_array() { return open_.pop_back(), true; }

  bool key(typename J::string_t& name) {
    Open& top = open_.back();
    auto& object = top.value->template get_ref<typename J::object_t&>();
    // The parser would keep the last of two equal keys in silence; a file with both is damaged or hostile.
    if constexpr (std::is_same_v<J, Json>) {
      if (object.size() >= kManyKeys && top.keys.empty())
        for (const auto& [known, value] : object) top.keys.insert(known);
      const bool twice = object.size() < kManyKeys
                             ? std::any_of(object.begin(), object.end(), [&](const auto& m) { return m.first == name; })
                             : !top.keys.insert(name).second;
      if (twice) refuse_twice(name);
      auto& members = static_cast<typename J::object_t::Container&>(object);
      slot_ = &members.emplace_back(std::move(name), nullptr).second;
    } else {
      const auto [place, added] = object.emplace(std::move(name), nullptr);
      if (!added) refuse_twice(place->first);
      slot_ = &place->second;
    }
    return true;
  }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception& error) {
    fail_input("{}:{}: not JSON: {}", where_, line_of(text_, position > 0 ? position - 1 : 0), reason(error.what()));
  }

 private:
  static constexpr std::size_t kManyKeys = 16;  // from here on a set finds a key sooner than a look at each
  struct Open {
    J* value;
    std::unordered_set<std::string> keys;
  };

  [[noreturn]] void refuse_twice(std::string_view name) const {
    fail_input("{}: the key \"{}\" stands twice", where_, printable(name, 80));
  }

  /// The new value where it belongs. A container that is open gets nothing else meanwhile, so pointers stay good.
  template <class T>
  J& place(T&& value) {
    if (++values_ > kMaxValues) fail_input("{}: JSON of more than {} values", where_, kMaxValues);
    if (open_.empty()) return root_ = J(std::forward<T>(value));
    if (slot_) return *std::exchange(slot_, nullptr) = J(std::forward<T>(value));
    auto& list = open_.back().value->template get_ref<typename J::array_t&>();
    return list.emplace_back(std::forward<T>(value));
  }
  template <class T>
  bool add(T&& value) {
    place(std::forward<T>(value));
    return true;
  }
  bool open(J&& container) {
    if (open_.size() > kMaxDepth) fail_input("{}: JSON nested more than {} deep", where_, kMaxDepth);
    open_.push_back({&place(std::move(container)), {}});
    return true;
  }

  std::string_view text_, where_;
  J root_;
  std::vector<Open> open_;
  J* slot_ = nullptr;  // of the key that was read last
  std::size_t values_ = 0;
};

template <class J>
J parse(std::string_view text, std::string_view where) {
  Builder<J> builder(text, where);
  J::sax_parse(text, &builder);
  return builder.take();
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
  std::size_t count = 0;
  for (const auto& [key, value] : json.items())
    if (std::find(allowed.begin(), allowed.end(), key) == allowed.end() && ++count <= kMaxNamed)
      unknown += (unknown.empty() ? "\"" : ", \"") + printable(key, 80) + "\"";
  if (count > kMaxNamed) unknown += fmt::format(" and {} more", count - kMaxNamed);
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
