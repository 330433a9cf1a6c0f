#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>

#include "lowbit/base/error.h"
#include "lowbit/base/file_map.h"
#include "lowbit/cli/arguments.h"
#include "lowbit/files/toml_text.h"

namespace lowbit::cli {
namespace {

struct Place {
  const std::filesystem::path& file;
  const toml::source_region& region;
};

std::string text_of(const Place& place) { return fmt::format("{}:{}", place.file.string(), place.region.begin.line); }

/// A scalar as one would type it behind its flag.
std::string typed(const toml::node& value, std::string_view key, const Place& place) {
  if (const auto* text = value.as_string()) return text->get();
  if (const auto* number = value.as_integer()) return fmt::format("{}", number->get());
  if (const auto* number = value.as_floating_point()) return fmt::format("{}", number->get());
  if (const auto* truth = value.as_boolean()) return truth->get() ? "true" : "false";
  if (value.is_table())
    fail_input("{}: '{}' is a table; flags stand at the top of the file, as key = value", text_of(place), key);
  fail_input("{}: the value of '{}' is neither text, a number, true, false nor a list of those", text_of(place), key);
}

toml::table read(const std::filesystem::path& file) {
  std::error_code code;
  if (std::filesystem::is_directory(file, code))
    fail_input("--config {}: is a folder; name a TOML file", file.string());
  if (access(file.c_str(), R_OK) != 0)
    fail_input("--config {}: {}; name a TOML file", file.string(), errno_text(errno));
  return files::parse_toml(read_stream(file, files::kMaxTomlBytes + 1), file.string());
}

}  // namespace

std::vector<std::string> fold_config(const CLI::App& parser, std::string_view verb, std::vector<std::string> arguments,
                                     const std::filesystem::path& file, std::map<std::string, std::string>& places) {
  const std::set<std::string> given = given_flags(parser, arguments);
  const std::vector<std::string> known = flag_names(parser);
  std::vector<std::string> extra;
  for (const auto& [name, value] : read(file)) {
    const std::string key{name.str()};
    const Place place{file, name.source()};
    const CLI::Option* option = parser.get_option_no_throw("--" + key);
    if (!option || key == "config" || key == "help")
      fail_usage("{}: '{}' is no flag of '{}'{}; '{} --help' lists them", text_of(place), key, verb,
                 did_you_mean(key, known), verb);
    if (given.contains(key)) continue;
    places[key] = text_of(place);
    const bool takes_value = option->get_items_expected_max() > 0;
    const auto add = [&](const toml::node& node) {
      const std::string word = typed(node, key, place);
      if (takes_value) {
        // Two arguments, since `--key=` with an empty value would swallow what follows.
        extra.push_back("--" + key);
        extra.push_back(word);
      } else if (node.is_boolean()) {
        extra.push_back("--" + key + "=" + word);
      } else {
        fail_usage("{}: '{}' is a switch: write {} = true or {} = false", text_of(place), key, key, key);
      }
    };
    const toml::array* list = value.as_array();
    if (!list) {
      add(value);
      continue;
    }
    if (option->get_items_expected_max() < 2)
      fail_usage("{}: '{}' takes one value, and a list is given", text_of(place), key);
    for (const toml::node& node : *list) add(node);
  }
  // Before a "--", behind which everything is a plain word.
  const auto end = std::find(arguments.begin(), arguments.end(), "--");
  arguments.insert(end, extra.begin(), extra.end());
  return arguments;
}

}  // namespace lowbit::cli
