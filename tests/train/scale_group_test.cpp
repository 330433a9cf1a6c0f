#include <gtest/gtest.h>

#include <fstream>

#include "lowbit/files/json.h"
#include "lowbit/files/safetensors.h"
#include "lowbit/machine/isa.h"
#include "train/support.h"

// --scale-group as a user meets it: trained, resumed, packed, looked at, served, refused.
namespace lowbit::test {
namespace {

namespace fs = std::filesystem;

/// Rows of 128 and of 256 weights.
std::vector<std::string> grouped(const fs::path& batches, const fs::path& out, int steps,
                                 const std::vector<std::string>& more) {
  const std::vector<std::string> all =
      plus(small_run(batches, out, steps),
           {"--width", "128", "--mlp", "256", "--format", "w2a2", "--scale-group", "64", "--transform", "none"});
  return plus(all, more);
}

std::string logits(const fs::path& folder, const fs::path& model, const std::vector<std::string>& more) {
  const fs::path out = folder / "logits.npy";
  const Outcome outcome = run_program(plus({lowbit_program(), "logits", "--model", model.string(), "--ids",
                                            (folder / "ids").string(), "--out", out.string()},
                                           more));
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  return bytes_of(out);
}

TEST(ScaleGroup, IsServedAsItWasTrainedFromTheCheckpointAndPackedAndItsScalesAreCounted) {
  const TemporaryFolder folder;
  write_batches(folder / "b", 80, 32, 1);
  std::ofstream(folder / "ids", std::ios::binary) << std::string("\x01\0\x02\0\x03\0\x3f\0", 8);
  struct Case {
    std::vector<std::string> flags;
    double bits;        ///< of a weight of the blocks, scales included
    std::int64_t down;  ///< scales of a row of 256
  };
  int number = 0;
  for (const Case& c :
       {Case{{}, 2.5, 4}, Case{{"--format", "w1a1", "--scale", "mse", "--backward", "int8"}, 1.5, 4},
        Case{{"--format", "w4a8", "--transform", "hadamard", "--scale-group", "128", "--head", "bf16"}, 4.25, 2}}) {
    const fs::path run = folder / ("run" + std::to_string(number)),
                   packed = folder / ("packed" + std::to_string(number));
    ++number;
    const Outcome outcome = run_program(grouped(folder / "b", run, 12, c.flags));
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_NE(outcome.err.find("scale group"), std::string::npos) << outcome.err;
    const Outcome pack = run_program({lowbit_program(), "pack", "--model", run.string(), "--out", packed.string()});
    ASSERT_EQ(pack.exit_code, 0) << pack.err;
    const std::string trained = logits(folder.path(), run, {"--engine", "train"});
    EXPECT_TRUE(trained == logits(folder.path(), run, {}));
    for (const Isa isa : {Isa::scalar, Isa::avx2, Isa::avx512}) {
      if (!isa_supported(isa)) continue;
      EXPECT_TRUE(trained == logits(folder.path(), packed, {"--chunk", "3", "--isa", std::string(isa_name(isa))}))
          << isa_name(isa);
    }
    EXPECT_TRUE(trained == logits(folder.path(), packed, {"--threads", "2", "--kernel", "codes"}));
    const Outcome refused =
        run_program({lowbit_program(), "logits", "--model", packed.string(), "--ids", (folder / "ids").string(),
                     "--out", (folder / "no.npy").string(), "--kernel", "packed"});
    EXPECT_EQ(refused.exit_code, 2);
    EXPECT_NE(refused.err.find("with several scales a row; these can: codes"), std::string::npos) << refused.err;

    const files::SafetensorsFile weights(packed / "model.safetensors");
    EXPECT_EQ(weights.at("model.layers.1.mlp.down_proj.weight.scale").shape, (std::vector<std::int64_t>{128, c.down}));
    EXPECT_EQ(weights.at("model.layers.0.self_attn.q_proj.weight.scale").shape,
              (std::vector<std::int64_t>{128, c.down / 2}));
    const Outcome inspected = run_program({lowbit_program(), "inspect", packed.string(), "--json"});
    ASSERT_EQ(inspected.exit_code, 0) << inspected.err;
    const files::Json json = files::parse_json(inspected.out, "inspect");
    EXPECT_EQ(json["scale_group"], 256 / c.down);
    EXPECT_DOUBLE_EQ(json["parts"][1]["bits_per_weight"].get<double>(), c.bits);
    const files::Json sizes = files::read_json(run / "run.json")["sizes"];
    EXPECT_EQ(sizes["codes"].get<std::uint64_t>() + sizes["scales"].get<std::uint64_t>(),
              json["parts"][1]["bytes"].get<std::uint64_t>());
    for (const std::vector<std::string>& look :
         {std::vector<std::string>{"diagnose", "--json", "--model", run.string(), "--batches", (folder / "b").string(),
                                   "--windows", "4"},
          {"bench", "--model", packed.string(), "--kernels", "--rows", "1", "--rounds", "1", "--output", "csv"},
          {"roofline", "--model", packed.string(), "--predict", "--rows", "1"}}) {
      const Outcome seen = run_program(plus({lowbit_program()}, look));
      EXPECT_EQ(seen.exit_code, 0) << look.front() << seen.err;
    }
  }
}

TEST(ScaleGroup, ScalesOfAnotherShapeAreRefusedInOneLine) {
  const TemporaryFolder folder;
  write_batches(folder / "b", 16, 32, 1);
  const fs::path run = folder / "run", packed = folder / "packed";
  ASSERT_EQ(run_program(grouped(folder / "b", run, 2, {})).exit_code, 0);
  ASSERT_EQ(run_program({lowbit_program(), "pack", "--model", run.string(), "--out", packed.string()}).exit_code, 0);
  const std::string before = bytes_of(packed / "config.json");
  const auto with = [&](const std::string& group) {
    std::string text = before;
    const std::string key = "\"scale_group\": 64";
    const std::size_t at = text.find(key);
    EXPECT_NE(at, std::string::npos);
    text.replace(at, key.size() + 1, group.empty() ? "" : "\"scale_group\": " + group + ",");
    std::ofstream(packed / "config.json", std::ios::binary) << text;
    const Outcome outcome = run_program({lowbit_program(), "inspect", packed.string()});
    EXPECT_EQ(outcome.exit_code, 2) << outcome.err;
    EXPECT_EQ(line_count(outcome.err), 1) << outcome.err;
    return outcome.err;
  };
  EXPECT_NE(with("128").find("q_proj.weight.scale\" has shape [128, 2], wanted [128, 1]"), std::string::npos)
      << with("128");
  EXPECT_NE(with("").find("q_proj.weight.scale\" has shape [128, 2], wanted [128]"), std::string::npos) << with("");
  EXPECT_NE(with("256").find("does not divide the rows of blocks.0.q"), std::string::npos) << with("256");
  EXPECT_NE(with("-64").find("--scale-group must be a power of two"), std::string::npos) << with("-64");
  EXPECT_NE(with("\"many\"").find("scale_group"), std::string::npos) << with("\"many\"");
}

TEST(ScaleGroup, ThreeKillsLeaveTheBytesOfTheUninterruptedRunWithEverythingThatReadsItsScales) {
  EXPECT_EQ(kill_and_resume(60, 5, 3, 41,
                            {"--width",     "128",  "--mlp",   "256", "--format",     "w2a2", "--scale-group", "64",
                             "--transform", "none", "--scale", "mse", "--backward",   "int8", "--gain-lr",     "3",
                             "--damp",      "1e-3", "--cage",  "10",  "--cage-start", "0.5",  "--float-start", "0.3"}),
            "");
}

TEST(ScaleGroup, AResumedRunKeepsItsOwnAndOneThatBeganWithoutHasAScaleARow) {
  const TemporaryFolder folder;
  write_batches(folder / "b", 80, 32, 1);
  ASSERT_EQ(run_program(grouped(folder / "b", folder / "run", 4, {})).exit_code, 0);
  EXPECT_EQ(run_program(grouped(folder / "b", folder / "run", 8, {"--resume"})).exit_code, 0);
  const Outcome refused = run_program(grouped(folder / "b", folder / "run", 12, {"--scale-group", "128", "--resume"}));
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_NE(refused.err.find("--scale-group cannot change"), std::string::npos) << refused.err;
  // A run.json from before there was the flag.
  const fs::path old = folder / "old";
  ASSERT_EQ(run_program(small_run(folder / "b", old, 4)).exit_code, 0);
  files::Json info = files::read_json(old / "run.json");
  EXPECT_EQ(info["flags"].erase("scale-group"), 1u);
  std::ofstream(old / "run.json", std::ios::binary) << info.dump();
  const Outcome resumed = run_program(plus(small_run(folder / "b", old, 8), {"--resume"}));
  EXPECT_EQ(resumed.exit_code, 0) << resumed.err;
  EXPECT_EQ(bytes_of(old / "checkpoints/step-8/config.json").find("scale_group"), std::string::npos);
}

TEST(ScaleGroup, BitsThatAreAllottedCountItsScales) {
  const TemporaryFolder folder;
  write_batches(folder / "b", 80, 32, 1);
  const fs::path run = folder / "run";
  const Outcome outcome =
      run_program(grouped(folder / "b", run, 12, {"--bits-budget", "2.5", "--bits-choices", "1,2,3"}));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const files::Json bits = files::read_json(run / "bits.json");
  EXPECT_DOUBLE_EQ(bits["layers"]["blocks.0.down"]["choices"]["w1a2"]["bits"].get<double>(), 1.5);
  EXPECT_LE(bits["bits"].get<double>(), 2.5);
  const fs::path packed = folder / "packed";
  ASSERT_EQ(run_program({lowbit_program(), "pack", "--model", run.string(), "--out", packed.string()}).exit_code, 0);
  const files::Json json =
      files::parse_json(run_program({lowbit_program(), "inspect", packed.string(), "--json"}).out, "inspect");
  EXPECT_NEAR(json["parts"][1]["bits_per_weight"].get<double>(), bits["bits"].get<double>(), 1e-12);
}

TEST(ScaleGroup, WhatItCannotDivideIsRefusedInOneLineBeforeAnythingIsMade) {
  const TemporaryFolder folder;
  write_batches(folder / "b", 16, 32, 1);
  const auto expect_refused = [&](const std::vector<std::string>& more, std::string_view word) {
    const Outcome refused = run_program(grouped(folder / "b", folder / "no", 4, more));
    EXPECT_EQ(refused.exit_code, 2) << refused.err;
    EXPECT_EQ(line_count(refused.err), 1) << refused.err;
    EXPECT_NE(refused.err.find(word), std::string::npos) << refused.err;
  };
  for (const char* value : {"0", "3", "32", "48"})
    expect_refused({"--scale-group", value}, "choose a whole number from 64 to");
  expect_refused({"--scale-group", "192"}, "--scale-group must be a power of two from 64 on");
  expect_refused({"--scale-group", "x"}, "--scale-group");
  expect_refused({"--scale-group", "256"}, "--scale-group 256 does not divide the rows of blocks.0.q, of 128 weights");
  expect_refused({"--mlp", "160"}, "--scale-group 64 does not divide the rows of blocks.0.down, of 160 weights");
  expect_refused({"--transform", "hadamard"}, "--scale-group 64 cuts the Hadamard groups of blocks.0.q, of 128");
  expect_refused({"--format", "bf16"}, "--format bf16 does not have");
  expect_refused({"--format", "w16a4"}, "--format w16a4 does not have");
  for (const char* estimator : {"lsq", "lsq+", "pact"})
    expect_refused({"--estimator", estimator}, "leave --scale-group out");
  expect_refused({"--format", "w1a1", "--estimator", "adabin"}, "leave --scale-group out");
  EXPECT_FALSE(fs::exists(folder / "no" / "run.json"));
}

}  // namespace
}  // namespace lowbit::test
