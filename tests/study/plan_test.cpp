#include <gtest/gtest.h>

#include <algorithm>

#include "files/expect_error.h"
#include "lowbit/study/sweep_plan.h"

namespace lowbit::study {
namespace {

std::vector<std::string> labels(const Plan& plan) {
  std::vector<std::string> out;
  for (const Cell& cell : plan.cells) out.push_back(cell.label);
  return out;
}

TEST(Plan, ListsMultiplyInTheFilesOrderAndCellsFollow) {
  const Plan plan = parse_plan(R"(
[fixed]
size = "1m"
tied = true
recompute = false
[grid]
seed = [0, 1]
format = ["w4a4", "w2a2"]
[[cells]]
format = "bf16"
lr = [0.01, 0.003]
)",
                               "x");
  EXPECT_EQ(labels(plan),
            (std::vector<std::string>{"format=w4a4 seed=0", "format=w2a2 seed=0", "format=w4a4 seed=1",
                                      "format=w2a2 seed=1", "format=bf16 lr=0.01", "format=bf16 lr=0.003"}));
  EXPECT_EQ(plan.cells[0].flags, (Flags{{"format", "w4a4"}, {"seed", "0"}, {"size", "1m"}, {"tied", "true"}}));
  EXPECT_EQ(plan.varied, (std::vector<std::string>{"format", "lr", "seed"}));
  EXPECT_EQ(plan.cells[3].name, "w2a2-seed1-" + plan.cells[3].id);
  EXPECT_EQ(plan.cells[5].name, "bf16-lr0.003-" + plan.cells[5].id);
  EXPECT_EQ(plan.cells[5].place, "x:9");
}

TEST(Plan, ACellKeepsItsIdWhenTheGridGrowsOrIsWrittenOtherwise) {
  const Plan small = parse_plan("[grid]\nformat = [\"w4a4\"]\nseed = 3\n", "x");
  const Plan large = parse_plan("[fixed]\nseed = 3\n[grid]\nformat = [\"w1a1\", \"w4a4\"]\n", "x");
  EXPECT_EQ(small.cells[0].id, large.cells[1].id);
  EXPECT_NE(small.cells[0].id, large.cells[0].id);
}

TEST(Plan, ACellThatComesTwiceIsTakenOnce) {
  EXPECT_EQ(parse_plan("[grid]\nseed = [1, 1, 2]\n[[cells]]\nseed = 2\n", "x").cells.size(), 2u);
}

TEST(Plan, ANameIsSafeForAFolderAndNotEndless) {
  const Plan plan =
      parse_plan("[grid]\ndata = [\"/a/b c\", \"../é\"]\nhead = [\"" + std::string(300, 'x') + "\", \"\"]\n", "x");
  for (const Cell& cell : plan.cells) {
    EXPECT_EQ(cell.name.find_first_of("/ "), std::string::npos) << cell.name;
    EXPECT_NE(cell.name.front(), '.');
    EXPECT_LE(cell.name.size(), 100u);
    EXPECT_TRUE(std::all_of(cell.name.begin(), cell.name.end(), [](char c) { return c > ' ' && c < 127; }))
        << cell.name;
  }
}

TEST(Plan, WhatCannotBeUsedIsNamedWithItsLine) {
  const auto refuse = [](ErrorKind kind, const std::string& text, std::initializer_list<std::string_view> parts) {
    test::expect_error(kind, parts, [&] { parse_plan(text, "s.toml"); });
  };
  refuse(ErrorKind::input, "[grid\n", {"s.toml:1", "TOML"});
  refuse(ErrorKind::input, "", {"s.toml", "no cells", "[grid]"});
  refuse(ErrorKind::usage, "format = \"w4a4\"\n", {"s.toml:1", "'format'", "[fixed]"});
  refuse(ErrorKind::usage, "[grid]\nseed = []\n", {"s.toml:2", "'seed' is empty"});
  refuse(ErrorKind::usage, "[fixed]\nseed = [1]\n", {"s.toml:2", "list", "[grid]"});
  refuse(ErrorKind::usage, "[grid]\nout = \"a\"\n", {"s.toml:2", "'out'", "sweep itself"});
  refuse(ErrorKind::usage, "[fixed]\nthreads = 2\n[grid]\nseed = 1\n", {"'threads'", "--threads-each"});
  refuse(ErrorKind::input, "[grid]\nseed = [[1]]\n", {"s.toml:2", "neither text"});
  refuse(ErrorKind::usage, "[[grid]]\nseed = 1\n", {"'grid'", "[[cells]]"});
  refuse(ErrorKind::usage, "cells = 3\n", {"'cells'"});
  std::string many = "[grid]\n";
  for (const char* flag : {"lr", "seed", "batch", "keep", "clip"}) many += std::string(flag) + " = [1,2,3,4,5,6,7,8]\n";
  refuse(ErrorKind::usage, many, {"more than 10000"});
}

}  // namespace
}  // namespace lowbit::study
