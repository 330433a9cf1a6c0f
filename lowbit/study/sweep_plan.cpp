#include "lowbit/study/sweep_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <span>

#include "lowbit/base/error.h"
#include "lowbit/base/file_map.h"
#include "lowbit/base/hash.h"
#include "lowbit/files/toml_text.h"

namespace lowbit::study {
namespace {

constexpr std::size_t kMostCells = 10000;
/// Flags that the sweep itself gives, or that make no run.
constexpr std::array<std::string_view, 7> kOwn{"out", "resume", "threads", "config", "help", "dry-run", "json"};

using Map = std::map<std::string, std::string>;

std::string at(const std::string& where, const toml::node& node) {
  return fmt::format("{}:{}", where, node.source().begin.line);
}

std::string text_of(const toml::node& value, std::string_view key, const std::string& where) {
  if (const auto* text = value.as_string()) return text->get();
  if (const auto* number = value.as_integer()) return fmt::format("{}", number->get());
  if (const auto* number = value.as_floating_point()) return fmt::format("{}", number->get());
  if (const auto* truth = value.as_boolean()) return truth->get() ? "true" : "false";
  fail_input("{}: the value of '{}' is neither text, a number, true or false", at(where, value), key);
}

struct Choice {
  std::string flag;
  std::vector<std::string> values;
};

/// The flags of a table with their values, in the order in which they stand in the file.
std::vector<Choice> choices_of(const toml::table& table, const std::string& where, bool lists) {
  std::vector<std::pair<const toml::node*, Choice>> found;
  for (const auto& [name, value] : table) {
    const std::string key{name.str()};
    if (std::find(kOwn.begin(), kOwn.end(), key) != kOwn.end())
      fail_usage("{}: '{}' is not for cells: {}", at(where, value), key,
                 key == "threads" ? "give --threads-each to the sweep" : "the sweep itself gives it");
    Choice choice{key, {}};
    if (const toml::array* list = value.as_array()) {
      if (!lists)
        fail_usage("{}: '{}' is a list; lists of values stand in [grid] and [[cells]]", at(where, value), key);
      if (list->empty()) fail_usage("{}: the list of '{}' is empty, so there are no cells", at(where, value), key);
      for (const toml::node& node : *list) choice.values.push_back(text_of(node, key, where));
    } else {
      choice.values.push_back(text_of(value, key, where));
    }
    found.emplace_back(&value, std::move(choice));
  }
  // toml++ keeps keys sorted; the file's own order is what its writer meant.
  std::stable_sort(found.begin(), found.end(), [](const auto& a, const auto& b) {
    const auto &x = a.first->source().begin, &y = b.first->source().begin;
    return x.line != y.line ? x.line < y.line : x.column < y.column;
  });
  std::vector<Choice> choices;
  for (auto& [node, choice] : found) choices.push_back(std::move(choice));
  return choices;
}

/// Appends a cell for every combination.
void multiply(const std::vector<Choice>& choices, const Map& fixed, const std::string& place,
              std::vector<Cell>* cells, std::set<std::string>* known) {
  // Equal values make one cell, but each combination is looked at.
  std::size_t combinations = 1;
  for (const Choice& choice : choices) {
    combinations *= choice.values.size();
    if (combinations > kMostCells) fail_usage("{}: more than {} cells", place, kMostCells);
  }
  std::vector<std::size_t> turn(choices.size());
  for (;;) {
    Map flags = fixed;
    for (std::size_t i = 0; i < choices.size(); ++i) flags[choices[i].flag] = choices[i].values[turn[i]];
    std::erase_if(flags, [](const auto& flag) { return flag.second == "false"; });
    Cell cell;
    cell.flags.assign(flags.begin(), flags.end());
    cell.place = place;
    std::string canonical;
    for (const auto& [name, value] : cell.flags) canonical += name + '=' + value + '\n';
    cell.id = fmt::format("{:08x}", hash_bytes(std::as_bytes(std::span(canonical))) & 0xFFFFFFFFu);
    if (known->insert(std::move(canonical)).second) cells->push_back(std::move(cell));
    if (cells->size() > kMostCells) fail_usage("{}: more than {} cells", place, kMostCells);
    std::size_t i = choices.size();
    while (i > 0 && ++turn[i - 1] == choices[i - 1].values.size()) turn[--i] = 0;
    if (i == 0) return;
  }
}

const std::string* value_of(const Cell& cell, const std::string& flag) {
  for (const auto& [name, value] : cell.flags)
    if (name == flag) return &value;
  return nullptr;
}

std::vector<std::string> varied_flags(const std::vector<Cell>& cells) {
  std::set<std::string> all;
  for (const Cell& cell : cells)
    for (const auto& flag : cell.flags) all.insert(flag.first);
  std::vector<std::string> varied;
  for (const std::string& flag : all) {
    const auto differs = [&](const Cell& cell) {
      const std::string *a = value_of(cell, flag), *b = value_of(cells.front(), flag);
      return !a != !b || (a && *a != *b);
    };
    if (std::any_of(cells.begin(), cells.end(), differs)) varied.push_back(flag);
  }
  const auto first = [](const std::string& flag) { return flag == "format" ? 0 : flag == "seed" ? 2 : 1; };
  std::stable_sort(varied.begin(), varied.end(), [&](const auto& a, const auto& b) { return first(a) < first(b); });
  return varied;
}

void name_cells(Plan* plan) {
  for (Cell& cell : plan->cells) {
    std::string name;
    for (const std::string& flag : plan->varied) {
      const std::string* value = value_of(cell, flag);
      if (!value) continue;
      cell.label += (cell.label.empty() ? "" : " ") + flag + (*value == "true" ? "" : "=" + *value);
      // "w4a4-lr0.01-seed3": what needs no word gets none; a path gives its last part.
      const std::string last = value->substr(value->rfind('/') + 1);
      name += (name.empty() ? "" : "-") + (flag == "format" || flag == "size" ? last
                                           : *value == "true"                 ? flag
                                                                              : flag + last);
    }
    std::replace_if(
        name.begin(), name.end(),
        [](char c) {
          return !((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' ||
                   c == '+');
        },
        '_');
    if (name.size() > 80) name.resize(80);
    if (name.empty() || name.front() == '.') name = "run" + name;
    cell.name = name + "-" + cell.id;
    if (cell.label.empty()) cell.label = "the only cell";
  }
}

}  // namespace

Plan parse_plan(std::string_view text, const std::string& where) {
  toml::table file = files::parse_toml(text, where);
  Map fixed;
  for (const auto& [name, value] : file) {
    const std::string_view key = name.str();
    const bool tables =
        key == "cells" && value.is_array() &&
        std::all_of(value.as_array()->begin(), value.as_array()->end(), [](auto& node) { return node.is_table(); });
    if (!tables && !((key == "fixed" || key == "grid") && value.is_table()))
      fail_usage("{}: '{}' is none of [fixed], [grid] and [[cells]]; flags stand in one of them", at(where, value),
                 key);
  }
  if (const toml::table* table = file["fixed"].as_table())
    for (const Choice& choice : choices_of(*table, where, false)) fixed[choice.flag] = choice.values.front();
  Plan plan;
  std::set<std::string> known;
  if (const toml::table* table = file["grid"].as_table()) {
    const auto choices = choices_of(*table, where, true);
    if (!choices.empty()) multiply(choices, fixed, fmt::format("{} [grid]", where), &plan.cells, &known);
  }
  if (const toml::array* list = file["cells"].as_array())
    for (const toml::node& node : *list)
      multiply(choices_of(*node.as_table(), where, true), fixed, at(where, node), &plan.cells, &known);
  if (plan.cells.empty()) fail_input("{}: names no cells; write lists under [grid], or [[cells]]", where);
  std::set<std::string> ids;
  for (const Cell& cell : plan.cells)
    if (!ids.insert(cell.id).second) fail("two cells of {} have the id {}; change a flag of one", where, cell.id);
  plan.varied = varied_flags(plan.cells);
  name_cells(&plan);
  return plan;
}

Plan read_plan(const std::filesystem::path& file) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(file, error))
    fail_input("--config {}: is no file; name the TOML file that describes the cells", file.string());
  return parse_plan(read_file(file, files::kMaxTomlBytes), file.string());
}

}  // namespace lowbit::study
