#include <cassert>
#include <bit>
#include <memory>
#include <utility>

#include "lowbit/base/error.h"
#include "lowbit/base/number.h"
#include "lowbit/base/words.h"
#include "lowbit/cli/arguments.h"
#include "lowbit/cli/command.h"

namespace lowbit::cli {
namespace {

constexpr std::size_t kShown = 60;  // bytes of a value that a message repeats

std::map<std::string, std::string>& places() {
  static std::map<std::string, std::string> map;
  return map;
}

/// The name that messages use: the first long one, or that of a positional argument.
std::string name_in(const std::string& names) {
  const std::size_t comma = names.find(',');
  std::string first = names.substr(0, comma);
  return first.starts_with('!') ? first.substr(1) : first;
}

std::string number_text(double value) { return fmt::format("{}", value); }

/// 1048576, but 2^31 and 10^15, which are easier to read than their digits.
std::string bound_text(std::int64_t bound) {
  if (bound <= 1 << 20) return std::to_string(bound);
  if ((bound & (bound - 1)) == 0) return fmt::format("2^{}", std::countr_zero(static_cast<std::uint64_t>(bound)));
  int power = 0;
  std::int64_t rest = bound;
  for (; rest % 10 == 0; rest /= 10) ++power;
  return rest == 1 ? fmt::format("10^{}", power) : std::to_string(bound);
}

/// As help has it: "1 to 1000", "1 or more"; and as a message has it: "from 1 to 1000".
std::string range_text(Limits limits) {
  if (limits.highest == kUnlimited) return fmt::format("{} or more", limits.lowest);
  return fmt::format("{} to {}", limits.lowest, bound_text(limits.highest));
}
std::string told(Limits limits) { return fmt::format("from {} to {}", limits.lowest, bound_text(limits.highest)); }

std::string range_text(Between b) {
  constexpr double kNone = std::numeric_limits<double>::max();
  const std::string low = number_text(b.lowest), high = number_text(b.highest);
  if (b.highest == kNone) return b.above ? "above " + low : low + " or more";
  if (!b.above && !b.below) return low + " to " + high;
  return fmt::format("{} {}, {} {}", b.above ? "above" : "from", low, b.below ? "below" : "up to", high);
}
std::string told(Between b) {
  constexpr double kNone = std::numeric_limits<double>::max();
  const std::string low = number_text(b.lowest), high = number_text(b.highest);
  if (b.highest == kNone) return b.above ? "above " + low : "of at least " + low;
  if (!b.above && !b.below) return fmt::format("from {} to {}", low, high);
  return fmt::format("{} {} and {} {}", b.above ? "above" : "of at least", low, b.below ? "below" : "at most", high);
}

[[noreturn]] void refuse_whole(std::string_view flag, std::string_view text, Whole::Kind kind, std::string_view range) {
  const char* why = text.empty()                       ? "no number is given; "
                    : kind == Whole::Kind::no_number   ? "not a number; "
                    : kind == Whole::Kind::fraction    ? "not a whole number; "
                                                       : "";
  fail_usage("{}: {}choose a whole number {}{}", as_typed(flag, text), why, range,
             kind == Whole::Kind::no_number ? " (such as 500, 64k or 2.5M)" : "");
}

std::int64_t whole_in(std::string_view flag, std::string_view text, Limits limits) {
  const Whole whole = parse_whole(text);
  constexpr auto kMost = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  if (whole.kind == Whole::Kind::number && !whole.overflow && whole.magnitude <= kMost) {
    const auto value = static_cast<std::int64_t>(whole.magnitude) * (whole.negative ? -1 : 1);
    if (value >= limits.lowest && value <= limits.highest) return value;
  }
  refuse_whole(flag, text, whole.kind, told(limits));
}

/// An option of one value: `read` turns the text into the value and throws for one that it does not take.
/// The results that CLI11 keeps are the values in their plainest form: 2.5M is 2500000 there.
CLI::Option* declare(CLI::App& parser, std::string names, std::string help, std::string type,
                     std::function<std::string(const std::string&)> read, std::function<std::string()> standard) {
  CLI::Option* option = parser.add_option(
      names,
      [read](const CLI::results_t& results) {
        for (const std::string& text : results) read(text);
        return true;
      },
      std::move(help), true, std::move(standard));
  option->transform(CLI::Validator([read](std::string& text) {
    text = read(text);
    return std::string{};
  }, ""));
  option->type_name(std::move(type));
  option->type_size(1);
  option->expected(1);
  return option;
}

template <class Integer>
CLI::Option* declare_whole(CLI::App& parser, std::string names, Integer& value, Limits limits, std::string help) {
  assert(static_cast<std::uint64_t>(limits.highest) <= static_cast<std::uint64_t>(std::numeric_limits<Integer>::max()));
  const std::string name = name_in(names);
  return declare(
      parser, std::move(names), std::move(help), "N:" + range_text(limits),
      [&value, limits, name](const std::string& text) {
        value = static_cast<Integer>(whole_in(name, text, limits));
        return std::to_string(value);
      },
      // A value outside the limits stands for "not given".
      [&value, limits] {
        const auto now = static_cast<std::int64_t>(value);
        return now < limits.lowest || now > limits.highest ? std::string{} : std::to_string(value);
      });
}

}  // namespace

void set_places(std::map<std::string, std::string> of_flags) { places() = std::move(of_flags); }

std::string as_typed(std::string_view flag, std::string_view text) {
  std::string value = excerpt(text, kShown);
  const bool plain = !value.empty() && value.find_first_of(" \"'") == std::string::npos;
  if (!plain) value = "'" + value + "'";
  const std::string bare(flag.substr(std::min(flag.find_first_not_of('-'), flag.size())));
  const auto place = places().find(bare);
  if (place != places().end()) return fmt::format("{}: {} = {}", place->second, bare, value);
  return fmt::format("{} {}", flag, value);
}

std::int64_t read_number(std::string_view flag, std::string_view text, Limits limits) {
  return whole_in(flag, text, limits);
}

CLI::Option* add_option(CLI::App& parser, std::string names, int& value, Limits limits, std::string help) {
  return declare_whole(parser, std::move(names), value, limits, std::move(help));
}
CLI::Option* add_option(CLI::App& parser, std::string names, std::int64_t& value, Limits limits, std::string help) {
  return declare_whole(parser, std::move(names), value, limits, std::move(help));
}
CLI::Option* add_option(CLI::App& parser, std::string names, std::uint64_t& value, Limits limits, std::string help) {
  return declare_whole(parser, std::move(names), value, limits, std::move(help));
}

CLI::Option* add_seed(CLI::App& parser, std::uint64_t& value, std::string help) {
  return declare(
      parser, "--seed", std::move(help), "N:0 to 2^64 - 1",
      [&value](const std::string& text) {
        const Whole whole = parse_whole(text);
        if (whole.kind != Whole::Kind::number || whole.negative || whole.overflow)
          refuse_whole("--seed", text, whole.kind, "from 0 to 18446744073709551615");
        return std::to_string(value = whole.magnitude);
      },
      [&value] { return std::to_string(value); });
}

CLI::Option* add_option(CLI::App& parser, std::string names, double& value, Between b, std::string help) {
  const std::string name = name_in(names);
  const auto inside = [b](double x) {
    return x >= b.lowest && x <= b.highest && !(b.above && x == b.lowest) && !(b.below && x == b.highest);
  };
  return declare(
      parser, std::move(names), std::move(help), "X:" + range_text(b),
      [&value, inside, name, b](const std::string& text) {
        const std::optional<double> number = parse_real(text);
        if (!number || !inside(*number))
          fail_usage("{}: {}choose a number {}", as_typed(name, text), number ? "" : "not a finite number; ", told(b));
        return number_text(value = *number);
      },
      [&value, inside] { return inside(value) ? number_text(value) : std::string{}; });
}

CLI::Option* add_quantity(CLI::App& parser, std::string names, double& value, std::string help) {
  const std::string name = name_in(names);
  return declare(
      parser, std::move(names), std::move(help), "X:above 0",
      [&value, name](const std::string& text) {
        const std::optional<double> number = parse_real(text, true);
        if (!number || !(*number > 0))
          fail_usage("{}: {}choose a number above 0, such as 30M or 3e7", as_typed(name, text),
                     number ? "" : "not a finite number; ");
        return number_text(value = *number);
      },
      [] { return std::string{}; });
}

CLI::Option* add_choice(CLI::App& parser, std::string names, std::string& value, std::vector<std::string> words,
                        std::string help) {
  const std::string name = name_in(names);
  std::string allowed = fmt::format("WORD:{}", fmt::join(words, ", "));
  return declare(
      parser, std::move(names), std::move(help), std::move(allowed),
      [&value, name, words = std::move(words)](const std::string& text) {
        if (std::find(words.begin(), words.end(), text) == words.end())
          fail_usage("{}: unknown{}; choose {}", as_typed(name, text), did_you_mean(text, words),
                     fmt::join(words, ", "));
        return value = text;
      },
      [&value] { return value; });
}

CLI::Option* add_option(CLI::App& parser, std::string names, std::string& value, std::string help) {
  return declare(
      parser, std::move(names), std::move(help), "TEXT", [&value](const std::string& text) { return value = text; },
      [&value] { return value; });
}

namespace {

std::string read_path(const std::string& name, const std::string& text) {
  if (text.empty()) fail_usage("{}: the path is empty; name a file or folder", as_typed(name, text));
  if (text.find('\0') != std::string::npos) fail_usage("{}: a path cannot hold a NUL byte", as_typed(name, text));
  return text;
}

template <class Value>
CLI::Option* declare_list(CLI::App& parser, std::string names, std::vector<Value>& value, std::string help,
                          std::string type, std::function<std::string(const std::string&)> read) {
  CLI::Option* option = parser.add_option(
      names,
      [&value, read](const CLI::results_t& results) {
        value.clear();
        for (const std::string& text : results) value.emplace_back(read(text));
        return true;
      },
      std::move(help), false);
  option->type_name(std::move(type));
  option->type_size(1);
  option->expected(CLI::detail::expected_max_vector_size);
  return option;
}

}  // namespace

CLI::Option* add_option(CLI::App& parser, std::string names, std::filesystem::path& value, std::string help) {
  const std::string name = name_in(names);
  return declare(
      parser, std::move(names), std::move(help), "PATH",
      [&value, name](const std::string& text) {
        value = read_path(name, text);
        return text;
      },
      [&value] { return value.string(); });
}
CLI::Option* add_option(CLI::App& parser, std::string names, std::vector<std::filesystem::path>& value,
                        std::string help) {
  const std::string name = name_in(names);
  return declare_list(parser, std::move(names), value, std::move(help), "PATH",
                      [name](const std::string& text) { return read_path(name, text); });
}
CLI::Option* add_option(CLI::App& parser, std::string names, std::vector<std::string>& value, std::string help) {
  return declare_list(parser, std::move(names), value, std::move(help), "TEXT",
                      [](const std::string& text) { return text; });
}

CLI::Option* add_flag(CLI::App& parser, std::string names, bool& value, std::string help) {
  return parser.add_flag(std::move(names), value, std::move(help));
}

}  // namespace lowbit::cli
