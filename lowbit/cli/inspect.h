#pragma once
#include <fmt/format.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "lowbit/files/json.h"

// What `lowbit inspect` finds, in pieces that lie inside each other.
namespace lowbit::cli {

/// What was found, for people and for machines, and one line for each thing that is damaged.
struct Findings {
  files::Json json;
  std::string text;
  std::vector<std::string> damaged;

  template <class... Args>
  void line(std::string_view label, fmt::format_string<Args...> format, Args&&... args) {
    text += fmt::format("{:<15}{}\n", label, fmt::format(format, std::forward<Args>(args)...));
  }
};

Findings begin_findings(std::string_view kind, const std::filesystem::path& path);

/// A model folder: shape, arithmetic, parts with their bytes; every weight is read.
Findings inspect_model(const std::filesystem::path& path);

}  // namespace lowbit::cli
