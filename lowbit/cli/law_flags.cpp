#include "lowbit/cli/law_flags.h"

#include <cmath>

#include "lowbit/base/error.h"
#include "lowbit/laws/points.h"

namespace lowbit::cli {

double parse_count_flag(const std::string& flag, const std::string& text, const char* unit) {
  const auto value = laws::parse_count(text);
  if (!value || !(*value > 0) || !std::isfinite(*value))
    fail_usage("{} '{}': wanted a number of {}, as 30M or 3e7", flag, text, unit);
  return *value;
}

std::map<std::string, double> parse_holds(const std::vector<std::string>& texts) {
  std::map<std::string, double> holds;
  for (const std::string& text : texts) {
    const std::size_t equals = text.rfind('=');
    const auto value = equals == std::string::npos ? std::nullopt : laws::parse_count(text.substr(equals + 1));
    if (!value) fail_usage("--hold '{}': write NAME=NUMBER, as beta=0.28 or eff.w4a4=0.69", text);
    holds[text.substr(0, equals)] = *value;
  }
  return holds;
}

}  // namespace lowbit::cli
