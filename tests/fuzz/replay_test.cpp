// The cases that fuzzers start from, and those they once found, as ordinary tests: built by any compiler.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

#include "fuzz/targets.h"
#include "lowbit/base/error.h"

namespace lowbit::fuzz {
namespace {

const Target& target_of(std::string_view name) {
  for (const Target& target : targets())
    if (target.name == name) return target;
  throw std::logic_error("no fuzz target " + std::string(name));
}

double processor_seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

/// Most megabytes that this process ever held.
long peak_megabytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss / 1024;
}

/// Runs one case. returns whether it was accepted. Sanitizers slow a case down by a factor of ten at most.
bool survives(const Case& one) {
  const std::string bytes = one.bytes();
  const Target& target = target_of(one.target);
  const double start = processor_seconds();
  const long before = peak_megabytes();
  bool accepted = false;
  try {
    target.run(bytes);
    accepted = true;
  } catch (const Error& error) {
    const std::string_view line = error.what();
    EXPECT_EQ(line.find('\n'), std::string_view::npos) << line;
    EXPECT_NE(line, "");
  }  // whatever else is thrown fails the test
  EXPECT_LT(processor_seconds() - start, 5) << one.target << " " << one.name;
  EXPECT_LT(peak_megabytes() - before, 1024) << one.target << " " << one.name;
  return accepted;
}

TEST(Fuzz, GoodInputsAreAccepted) {
  std::set<std::string_view> seen;
  for (const Case& seed : seeds()) {
    SCOPED_TRACE(seed.target + " " + seed.name);
    seen.insert(target_of(seed.target).name);
    const bool refused_on_purpose = seed.target == "manifest";  // its hash is none
    EXPECT_NE(survives(seed), refused_on_purpose);
  }
  EXPECT_EQ(seen.size(), targets().size()) << "a target without a good input starts from nothing";
}

TEST(Fuzz, HostileInputsAreRefusedQuickly) {
  for (const Case& one : hostile_cases()) {
    SCOPED_TRACE(one.target + " " + one.name);
    survives(one);
  }
}

TEST(Fuzz, WhatFuzzersFoundStaysMended) {
  namespace fs = std::filesystem;
  for (const auto& folder : fs::directory_iterator(LOWBIT_FUZZ_CORPUS)) {
    if (!folder.is_directory()) continue;
    for (const auto& file : fs::directory_iterator(folder)) {
      SCOPED_TRACE(file.path().string());
      std::ifstream in(file.path(), std::ios::binary);
      const std::string bytes{std::istreambuf_iterator<char>(in), {}};
      survives({folder.path().filename().string(), file.path().filename().string(), [&] { return bytes; }});
    }
  }
}

TEST(Fuzz, EveryCutOfASmallInputIsSurvived) {
  for (const Case& seed : seeds()) {
    if (seed.target == "model_folder" || seed.target == "tokenizer") continue;  // large; cut elsewhere
    const std::string bytes = seed.bytes();
    if (bytes.size() > 3000) continue;
    SCOPED_TRACE(seed.target + " " + seed.name);
    for (std::size_t size = 0; size < bytes.size(); size += 1 + bytes.size() / 200)
      run(target_of(seed.target), bytes.substr(0, size));
  }
}

}  // namespace
}  // namespace lowbit::fuzz
