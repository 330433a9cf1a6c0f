#pragma once
#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <limits>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "lowbit/base/error.h"

// JSON as our files use it: read strictly, with errors that name the file, and written so that numbers come back.
namespace lowbit::files {

using Json = nlohmann::ordered_json;  ///< keeps the order in which keys were given, so written bytes are deterministic

/// The value that `text` holds. `where` names it in errors, usually the file.
/// Takes time and memory in proportion to the text. throws Error(input): not JSON (with the line), a key given twice,
/// nested more than 64 deep, or of more than 2^22 values.
Json parse_json(std::string_view text, std::string_view where);
/// The same into sorted maps, in which a key is found without a look at each.
nlohmann::json parse_large_json(std::string_view text, std::string_view where);
/// parse_json of a file. throws Error(input): also when it is no regular file, cannot be read, or is larger than 64
/// MiB.
Json read_json(const std::filesystem::path& path);

/// On one line, for metrics.jsonl. Doubles are written with as many digits as bring them back exactly; infinities and
/// NaN, which JSON cannot hold, as null; bytes that are not UTF-8 as U+FFFD. A float given as double comes back too.
std::string dump_line(const Json& json);
/// Indented by two spaces, with a newline at the end.
std::string dump_pretty(const Json& json);

/// "a whole number", "a text", ...: what a value is, in words for messages.
std::string_view json_kind(const Json& value);
/// A value for a message: its JSON on one line, cut after 60 bytes.
std::string json_excerpt(const Json& value);

/// throws Error(input) unless `json` is an object.
void require_object(const Json& json, std::string_view where);
/// throws Error(input) that names each key of `json` which is not among `allowed`.
void refuse_unknown_keys(const Json& json, std::span<const std::string_view> allowed, std::string_view where);
inline void refuse_unknown_keys(const Json& json, std::initializer_list<std::string_view> allowed,
                                std::string_view where) {
  refuse_unknown_keys(json, std::span(allowed.begin(), allowed.size()), where);
}

namespace detail {
[[noreturn]] void wrong_kind(std::string_view key, std::string_view where, const Json& value, std::string_view wanted);
[[noreturn]] void out_of_range(std::string_view key, std::string_view where, const Json& value);
const Json& member(const Json& json, std::string_view key, std::string_view where);

template <class T>
struct IsVector : std::false_type {};
template <class T>
struct IsVector<std::vector<T>> : std::true_type {};

template <class T>
T convert(const Json& value, std::string_view key, std::string_view where) {
  if constexpr (std::is_same_v<T, Json>) {
    return value;
  } else if constexpr (std::is_same_v<T, bool>) {
    if (!value.is_boolean()) wrong_kind(key, where, value, "true or false");
    return value.get<bool>();
  } else if constexpr (std::is_integral_v<T>) {
    if (!value.is_number_integer()) wrong_kind(key, where, value, "a whole number");
    if (value.is_number_unsigned()) {
      const auto n = value.get<std::uint64_t>();
      if (n > static_cast<std::uint64_t>(std::numeric_limits<T>::max())) out_of_range(key, where, value);
      return static_cast<T>(n);
    }
    const auto n = value.get<std::int64_t>();  // negative: the parser makes all others unsigned
    if (n < 0 && (std::is_unsigned_v<T> || n < static_cast<std::int64_t>(std::numeric_limits<T>::min())))
      out_of_range(key, where, value);
    if (n > 0 && static_cast<std::uint64_t>(n) > static_cast<std::uint64_t>(std::numeric_limits<T>::max()))
      out_of_range(key, where, value);
    return static_cast<T>(n);
  } else if constexpr (std::is_floating_point_v<T>) {
    if (!value.is_number()) wrong_kind(key, where, value, "a number");
    return static_cast<T>(value.get<double>());
  } else if constexpr (std::is_same_v<T, std::string>) {
    if (!value.is_string()) wrong_kind(key, where, value, "a text");
    return value.get<std::string>();
  } else {
    static_assert(IsVector<T>::value, "bool, integers, floating point, std::string, Json, or a vector of them");
    if (!value.is_array()) wrong_kind(key, where, value, "a list");
    T list;
    list.reserve(value.size());
    for (const Json& element : value) list.push_back(convert<typename T::value_type>(element, key, where));
    return list;
  }
}
}  // namespace detail

/// json[key] as T: bool, an integer type (range checked), float or double, std::string, Json, or a std::vector of them.
/// where   the file, for errors. throws Error(input): missing, of another kind, out of T's range.
template <class T>
T required(const Json& json, std::string_view key, std::string_view where) {
  return detail::convert<T>(detail::member(json, key, where), key, where);
}
/// The same; `otherwise` where the key is missing or null.
template <class T>
T optional(const Json& json, std::string_view key, T otherwise, std::string_view where) {
  require_object(json, where);
  const auto found = json.find(std::string(key));
  if (found == json.end() || found->is_null()) return otherwise;
  return detail::convert<T>(*found, key, where);
}

}  // namespace lowbit::files
