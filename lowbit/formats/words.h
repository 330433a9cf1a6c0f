#pragma once
#include <string>
#include <vector>

// The words that the parsers of format.h take, in the order in which messages and help list them.
namespace lowbit {

std::vector<std::string> head_words();
std::vector<std::string> attention_words();
std::vector<std::string> estimator_words();
std::vector<std::string> transform_words();
std::vector<std::string> scale_words();
std::vector<std::string> grid_words();
std::vector<std::string> fp4_threshold_words();
std::vector<std::string> sparse_scale_words();
/// Everything that parse_format takes, in one sentence.
std::string format_words();

}  // namespace lowbit
