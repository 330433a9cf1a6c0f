#include "lowbit/cli/bench_flags.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "lowbit/base/error.h"
#include "lowbit/bench/shapes.h"
#include "lowbit/cli/arguments.h"
#include "lowbit/formats/words.h"
#include "lowbit/files/run_folder.h"
#include "lowbit/model/model_folder.h"

namespace lowbit::cli {
std::vector<std::string> words_of(std::string_view flag, std::string_view list) {
  std::vector<std::string> words;
  for (std::size_t at = 0; at <= list.size();) {
    const std::size_t comma = std::min(list.find(',', at), list.size());
    if (comma == at) fail_usage("{}: the list has an empty word between its commas", as_typed(flag, list));
    words.emplace_back(list.substr(at, comma - at));
    at = comma + 1;
  }
  return words;
}

std::vector<std::int64_t> numbers_of(std::string_view flag, std::string_view list, std::int64_t lowest,
                                     std::int64_t highest) {
  std::vector<std::int64_t> numbers;
  const auto add = [&](std::int64_t value) {
    if (std::find(numbers.begin(), numbers.end(), value) == numbers.end()) numbers.push_back(value);
  };
  for (const std::string& word : words_of(flag, list)) {
    const std::size_t dots = word.find("..");
    if (dots == std::string::npos) {
      add(read_number(flag, word, {lowest, highest}));
      continue;
    }
    const std::int64_t first =
        read_number(flag, std::string_view(word).substr(0, dots), {std::max<std::int64_t>(1, lowest), highest});
    const std::int64_t last = read_number(flag, std::string_view(word).substr(dots + 2), {lowest, highest});
    if (first > last) fail_usage("{}: the range goes down; write the smaller number first", as_typed(flag, word));
    for (std::int64_t value = first; value < last; value *= 2) add(value);
    add(last);
  }
  return numbers;
}

void declare_shape(CLI::App& verb, ShapeFlags& f, const char* default_formats) {
  f.formats = "";
  add_option(verb, "--model", f.model, "model folder, packed or not, or run folder")->type_name("DIR");
  add_option(verb, "--shape", f.shape, fmt::format("random weights of this shape instead: {}", kShapeWords))
      ->type_name("NAME");
  add_option(verb, "--format", f.formats, "with --shape: formats, a list; lowbit train --help describes them")
      ->type_name("LIST")
      ->default_str(default_formats);
  add_choice(verb, "--head", f.head, head_words(), "with --shape: format of the head and embedding")
      ->default_str("bf16; f32 with --format f32");
}

Target resolve_target(const ShapeFlags& f, std::int64_t positions) {
  if (f.model.empty() == f.shape.empty()) {
    if (f.model.empty())
      fail_usage("say what to measure: --model DIR, or --shape NAME for random weights ({})",
                 fmt::join(bench::shape_names(), ", "));
    fail_usage("give either --model or --shape, not both");
  }
  Target target;
  if (!f.model.empty()) {
    if (!f.formats.empty() || !f.head.empty())
      fail_usage("--format and --head belong to --shape; a model folder has formats of its own");
    target.model = files::resolve_model(f.model);
    const model::ModelFolder folder(target.model);
    target.name = f.model.string();
    target.config = folder.config();
    target.schemes = {folder.scheme()};
    return target;
  }
  const auto config = bench::find_shape(f.shape);
  if (!config) {
    const std::vector<std::string> names = bench::shape_names();
    fail_usage("unknown --shape '{}'{}; choose {}, or WIDTHxLAYERSxHEADSxKVxMLPxVOCAB", f.shape,
               did_you_mean(f.shape, names), fmt::join(names, ", "));
  }
  target.name = f.shape;
  target.config = *config;
  target.config.positions = positions;
  for (const std::string& word : words_of("--format", f.formats)) {
    Scheme scheme = default_scheme(parse_format(word));
    if (!f.head.empty()) scheme.head = parse_head(f.head);
    target.config.check(scheme);
    target.schemes.push_back(scheme);
  }
  return target;
}

void say_line(std::string_view text) { fmt::print(stderr, "lowbit: {}\n", text); }

}  // namespace lowbit::cli
