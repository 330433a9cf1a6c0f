#pragma once
#include <map>
#include <string>
#include <vector>

// Flags of the verbs that fit laws.
namespace lowbit::cli {

/// A positive number as people write counts: 30M, 3e7. unit: what it counts, for the message. throws Error(usage).
double parse_count_flag(const std::string& flag, const std::string& text, const char* unit);

/// NAME=NUMBER, each. throws Error(usage).
std::map<std::string, double> parse_holds(const std::vector<std::string>& texts);

}  // namespace lowbit::cli
