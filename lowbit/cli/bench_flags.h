#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lowbit/cli/command.h"
#include "lowbit/formats/format.h"
#include "lowbit/model/config.h"

namespace lowbit::cli {

/// What --shape takes.
inline constexpr char kShapeWords[] =
    "smollm2-135m, llama-1b, 107m, a --size of lowbit train, or WIDTHxLAYERSxHEADSxKVxMLPxVOCAB";

/// "a,b,c" apart. throws Error(usage): an empty word between commas.
std::vector<std::string> words_of(std::string_view flag, std::string_view list);

/// "512,64..512": numbers and ranges, which double from the first to the last: 64, 128, 256, 512; each once, in the
/// order given. throws Error(usage) that names the flag: no number, outside lowest..highest, a range that goes down.
std::vector<std::int64_t> numbers_of(std::string_view flag, std::string_view list, std::int64_t lowest,
                                     std::int64_t highest);

/// What is measured: a model folder, or a named shape with random weights in formats of the user's choice.
struct ShapeFlags {
  std::filesystem::path model;
  std::string shape, formats, head;
};
void declare_shape(CLI::App& verb, ShapeFlags& flags, const char* default_formats);

/// The shape, and each scheme it is to be measured in.
struct Target {
  std::string name;
  model::Config config;
  std::vector<Scheme> schemes;
  std::filesystem::path model;  ///< the resolved folder, or empty
};
/// throws Error(usage or input): both or neither of --model and --shape, an unknown shape (which lists them), a format
/// with --model, a format that the shape cannot have. positions   the config's context where a shape has none of its
/// own.
Target resolve_target(const ShapeFlags& flags, std::int64_t positions);

/// One line on standard error, above the progress bar.
void say_line(std::string_view text);

}  // namespace lowbit::cli
