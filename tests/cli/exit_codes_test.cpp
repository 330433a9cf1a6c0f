// The table of docs/reference/exit_codes.md, by failures as people meet them.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "cli/process.h"
#include "support/data.h"

namespace lowbit::test {
namespace {

Outcome lowbit(std::vector<std::string> arguments, const std::string& stdout_path = {}) {
  arguments.insert(arguments.begin(), LOWBIT_PROGRAM);
  return run_program(arguments, stdout_path);
}

void expect_line(const Outcome& outcome, int exit_code) {
  EXPECT_EQ(outcome.exit_code, exit_code) << outcome.err;
  EXPECT_EQ(line_count(outcome.err), 1) << outcome.err;
  EXPECT_TRUE(outcome.err.starts_with("lowbit: ")) << outcome.err;
}

TEST(ExitCodes, HelpAndVersionsEndWith0) {
  for (const auto& words : {std::vector<std::string>{}, {"help"}, {"--help"}, {"-h"}, {"help", "run"}, {"run", "-h"},
                            {"run", "--seed", "-1", "--help"}, {"--version"}, {"help", "--markdown"},
                            {"help", "--markdown", "run"}}) {
    const Outcome outcome = lowbit(words);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_EQ(outcome.err, "");
    EXPECT_FALSE(outcome.out.empty());
  }
}

TEST(ExitCodes, WrongUseAndBadInputEndWith2) {
  const TemporaryFolder folder;
  const std::string text = (folder / "text.txt").string(), binary = (folder / "binary").string();
  std::ofstream(text) << "some text\n";
  std::ofstream(binary) << "\xFF\xFE\xFD";
  const std::string none = (folder / "none").string(), out = (folder / "out").string();
  for (const auto& words : {std::vector<std::string>{"trian"},
                            {"help", "trian"},
                            {"help", "tokenizer", "trian"},
                            {"run"},
                            {"run", "--modle", "x"},
                            {"run", "-model", "x"},
                            {"run", "--model", none},
                            {"run", "--model", text},
                            {"run", "--model"},
                            {"run", "--model", "--prompt", "x"},
                            {"run", "--model", "a", "--model", "b"},
                            {"run", "--model=", "--prompt", "x"},
                            {"run", "--model", none, "--quiet=perhaps"},
                            {"run", "stray", "--model", none},
                            {"run", "--config", none},
                            {"eval", "--model", none},
                            {"inspect", none},
                            {"inspect", text},
                            {"pack", "--model", none, "--out", out},
                            {"tokenizer"},
                            {"tokenizer", "train", "--in", none, "--out", out},
                            {"tokenizer", "train", "--in", binary, "--out", out},
                            {"tokenizer", "encode", "--tokenizer", text, "--text", "x"},
                            {"data", "--in", text, "--tokenizer", none, "--out", out},
                            {"fit", "--in", none},
                            {"report", none, "--out", out},
                            {"sweep", "--config", none, "--out", out},
                            {"bench", "--shape", "none"},
                            {"roofline", "--isa", "mmx"}}) {
    std::string command;
    for (const std::string& word : words) command += " " + word;
    SCOPED_TRACE(command);
    expect_line(lowbit(words), 2);
    EXPECT_FALSE(std::filesystem::exists(out));
  }
}

TEST(ExitCodes, WhatTheMachineRefusesEndsWith1) {
  expect_line(lowbit({"help", "run"}, "/dev/full"), 1);
  expect_line(lowbit({"--version"}, "/dev/full"), 1);
}

TEST(ExitCodes, AnErrorIsOneLineOfPlainTextWhateverANameHolds) {
  const Outcome outcome = lowbit({"run", "--model", "a\nb\x1b[2J\xFF\xC2\x9B" + std::string(20'000, 'x')});
  expect_line(outcome, 2);
  EXPECT_LT(outcome.err.size(), 5000u);
  EXPECT_EQ(outcome.err.find('\x1b'), std::string::npos);
  EXPECT_EQ(outcome.err.find("\xC2\x9B"), std::string::npos);
}

}  // namespace
}  // namespace lowbit::test
