#pragma once
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

// What reads bytes from outside, each as a function of the bytes: for libFuzzer (fuzzer.cpp) and for the tests that
// replay known cases (replay_test.cpp). A target returns, whatever the bytes; an Error of kind input or usage is a
// refusal, as is one that says that a computation failed. Anything else that is thrown is a fault.
namespace lowbit::fuzz {

struct Target {
  std::string_view name;
  void (*run)(std::string_view bytes);
};
std::span<const Target> targets();

/// Calls the target and swallows refusals; an error line must be one line and not a flood.
void run(const Target& target, std::string_view bytes);

/// One input: of the kind that its target reads, or hostile.
struct Case {
  std::string target, name;
  std::function<std::string()> bytes;
};
/// Good inputs of every target, from which a fuzzer starts, and the cases that were once found.
std::vector<Case> seeds();
std::vector<Case> hostile_cases();

/// Files in one input: what stands behind a line "@@@ NAME" belongs to that file. Only names that a model folder may
/// have.
std::string join_files(const std::vector<std::pair<std::string, std::string>>& files);
std::vector<std::pair<std::string, std::string>> split_files(std::string_view bytes);

}  // namespace lowbit::fuzz
