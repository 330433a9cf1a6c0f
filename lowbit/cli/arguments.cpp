#include "lowbit/cli/arguments.h"

#include <algorithm>
#include <numeric>

#include "lowbit/base/error.h"
#include "lowbit/base/words.h"
#include "lowbit/cli/command.h"

namespace lowbit::cli {
namespace {

/// Optimal string alignment distance.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before, last(b.size() + 1), row(b.size() + 1);
  std::iota(last.begin(), last.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) row[j] = std::min(row[j], before[j - 2] + 1);
    }
    before = std::exchange(last, row);
  }
  return last[b.size()];
}

/// Calls each(name, value, has_value) for every long flag; a value that stands as the next argument is included when
/// the flag is known to take one.
template <class Each>
void walk(const CLI::App& parser, std::span<const std::string> arguments, Each&& each) {
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (argument == "--") return;
    if (!argument.starts_with("--")) continue;
    const std::size_t equals = argument.find('=');
    const std::string name = argument.substr(2, equals == std::string::npos ? equals : equals - 2);
    const CLI::Option* option = parser.get_option_no_throw("--" + name);
    const bool takes_value = option && option->get_items_expected_min() > 0;
    if (equals != std::string::npos)
      each(name, argument.substr(equals + 1), true);
    else if (takes_value && i + 1 < arguments.size())
      each(name, arguments[++i], true);
    else
      each(name, std::string{}, false);
  }
}

}  // namespace

std::string nearest(std::string_view wrong, std::span<const std::string> names) {
  std::string best;
  std::size_t least = std::max<std::size_t>(1, std::min<std::size_t>(3, wrong.size() / 3)) + 1;
  for (const std::string& name : names) {
    const std::size_t apart = std::max(wrong.size(), name.size()) - std::min(wrong.size(), name.size());
    if (apart >= least) continue;  // also keeps megabytes of name from being compared letter by letter
    const std::size_t d = distance(wrong, name);
    if (d < least) least = d, best = name;
  }
  // A beginning that only one name has is as good as a near miss: --tok for --tokens.
  if (best.empty() && wrong.size() >= 2) {
    for (const std::string& name : names)
      if (name.starts_with(wrong)) {
        if (!best.empty()) return {};
        best = name;
      }
  }
  return best;
}

std::string did_you_mean(std::string_view wrong, std::span<const std::string> names) {
  const std::string name = nearest(wrong, names);
  return name.empty() ? name : " (did you mean '" + name + "'?)";
}

CLI::App& innermost(CLI::App& verb, std::span<const std::string> arguments) {
  CLI::App* parser = &verb;
  for (const std::string& argument : arguments) {
    if (argument.starts_with('-')) break;
    CLI::App* next = nullptr;
    for (CLI::App* sub : parser->get_subcommands([](const CLI::App*) { return true; }))
      if (sub->check_name(argument)) next = sub;
    if (!next) break;
    parser = next;
  }
  return *parser;
}

std::vector<std::string> flag_names(const CLI::App& parser) {
  std::vector<std::string> names;
  for (const CLI::Option* option : parser.get_options())
    for (const std::string& name : option->get_lnames()) names.push_back(name);
  return names;
}

std::set<std::string> given_flags(const CLI::App& parser, std::span<const std::string> arguments) {
  std::set<std::string> given;
  walk(parser, arguments, [&](const std::string& name, const std::string&, bool) {
    given.insert(name);
    // One option may have several names; giving one is giving all.
    if (const CLI::Option* option = parser.get_option_no_throw("--" + name))
      given.insert(option->get_lnames().begin(), option->get_lnames().end());
  });
  return given;
}

std::string value_of(const CLI::App& parser, std::span<const std::string> arguments, std::string_view wanted) {
  std::string found;
  walk(parser, arguments, [&](const std::string& name, const std::string& value, bool) {
    if (name == wanted) found = value;
  });
  return found;
}

std::vector<std::string> normalized(const CLI::App& parser, std::string_view verb, std::vector<std::string> arguments) {
  std::vector<std::string> out;
  std::map<const CLI::Option*, std::vector<std::string>> given;  // flags as typed, with values
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (argument == "--") {
      out.insert(out.end(), arguments.begin() + static_cast<std::ptrdiff_t>(i), arguments.end());
      break;
    }
    const std::size_t equals = argument.find('=');
    const std::string flag = argument.substr(0, equals);
    const CLI::Option* option = flag.starts_with("--") && flag.size() > 2 ? parser.get_option_no_throw(flag) : nullptr;
    if (!option) {
      out.push_back(argument);
      continue;
    }
    const bool single = option->get_items_expected_max() == 1;
    if (option->get_items_expected_max() == 0) {
      std::string value = equals == std::string::npos ? "true" : argument.substr(equals + 1);
      if (value != "true" && value != "false")
        fail_usage("{}: a switch takes no value, or true or false", as_typed(flag, value));
      auto& before = given[option];
      if (!before.empty() && before.front() != flag + "=" + value)
        fail_usage("'{}' was given both {} and {}; give one of them", verb, before.front(), flag + "=" + value);
      before.push_back(flag + "=" + value);
      out.push_back(argument);
      continue;
    }
    std::string value;
    if (equals != std::string::npos) {
      value = argument.substr(equals + 1);
    } else {
      if (i + 1 == arguments.size()) fail_usage("{} needs a value; '{} --help' says which", flag, verb);
      value = arguments[++i];
      const std::string next = value.substr(0, value.find('='));
      if (next.starts_with("--") && next.size() > 2 && parser.get_option_no_throw(next))
        fail_usage("{0} needs a value, but the flag {1} follows (if {1} is the value, write {0}={1})", flag, next);
    }
    auto& before = given[option];
    if (single && !before.empty())
      fail_usage("{} is given twice, with {} and {}; give it once", flag, as_typed("", before.front()).substr(1),
                 as_typed("", value).substr(1));
    before.push_back(value);
    out.push_back(flag);
    out.push_back(std::move(value));
  }
  return out;
}

}  // namespace lowbit::cli
