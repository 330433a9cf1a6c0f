#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "lowbit/files/json.h"
#include "lowbit/files/safetensors.h"
#include "train/support.h"

// Formats by layer, as a user meets them: trained, resumed, packed, looked at, refused.
namespace lowbit::test {
namespace {

namespace fs = std::filesystem;

constexpr const char* kMixed = "down=w2a3,blocks.0.o=bf16,k=w1a4,blocks.1.*=w3a5,blocks.1.up=w8a5";

std::string logits(const fs::path& folder, const fs::path& model, const std::vector<std::string>& more) {
  const fs::path out = folder / "logits.npy";
  const Outcome outcome = run_program(plus({lowbit_program(), "logits", "--model", model.string(), "--ids",
                                            (folder / "ids").string(), "--out", out.string()},
                                           more));
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  return bytes_of(out);
}

void replace_in(const fs::path& file, const std::string& from, const std::string& to) {
  std::string text = bytes_of(file);
  const std::size_t at = text.find(from);
  ASSERT_NE(at, std::string::npos) << from;
  text.replace(at, from.size(), to);
  std::ofstream(file, std::ios::binary) << text;
}

TEST(MixedFormats, AreServedAsTheyWereTrainedFromTheCheckpointAndPackedAndInspectedLayerByLayer) {
  const TemporaryFolder folder;
  write_batches(folder / "b", 80, 32, 1);
  std::ofstream(folder / "ids", std::ios::binary) << std::string("\x01\0\x02\0\x03\0\x3f\0", 8);
  const fs::path run = folder / "run", packed = folder / "packed";
  const Outcome outcome =
      run_program(plus(small_run(folder / "b", run, 12), {"--layer-formats", kMixed, "--backward", "int8"}));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_NE(outcome.err.find(std::string("w4a4 with ") + kMixed), std::string::npos) << outcome.err;
  const Outcome pack = run_program({lowbit_program(), "pack", "--model", run.string(), "--out", packed.string()});
  ASSERT_EQ(pack.exit_code, 0) << pack.err;
  const std::string trained = logits(folder.path(), run, {"--engine", "train"});
  EXPECT_TRUE(trained == logits(folder.path(), run, {}));
  EXPECT_TRUE(trained == logits(folder.path(), packed, {"--chunk", "3", "--isa", "scalar"}));
  EXPECT_TRUE(trained == logits(folder.path(), packed, {"--threads", "2"}));
  const files::SafetensorsFile weights(packed / "model.safetensors");
  EXPECT_EQ(weights.at("model.layers.0.mlp.down_proj.weight.codes").shape, (std::vector<std::int64_t>{64, 16}));
  EXPECT_EQ(weights.at("model.layers.1.mlp.down_proj.weight.codes").shape, (std::vector<std::int64_t>{64, 24}));
  EXPECT_EQ(weights.at("model.layers.0.self_attn.o_proj.weight").dtype, files::Dtype::bf16);
  EXPECT_EQ(weights.at("model.layers.1.self_attn.k_proj.weight.codes").shape, (std::vector<std::int64_t>{64, 24}));

  const Outcome inspected = run_program({lowbit_program(), "inspect", packed.string(), "--json"});
  ASSERT_EQ(inspected.exit_code, 0) << inspected.err;
  const files::Json json = files::parse_json(inspected.out, "inspect");
  EXPECT_EQ(json["layer_formats"], kMixed);
  ASSERT_EQ(json["layers"].size(), 14u);
  EXPECT_EQ(json["layers"][1]["layer"], "blocks.0.k");
  EXPECT_EQ(json["layers"][1]["format"], "w1a4");
  EXPECT_EQ(json["layers"][1]["bits_per_weight"], 1.5);  // and 32 bits of scale for 64 weights
  EXPECT_EQ(json["layers"][3]["bits_per_weight"], 16.0);
  std::uint64_t bytes = 0;
  for (const files::Json& layer : json["layers"]) bytes += layer["bytes"].get<std::uint64_t>();
  EXPECT_EQ(bytes, json["parts"][1]["bytes"].get<std::uint64_t>());
  // run.json counts as pack does.
  const files::Json sizes = files::read_json(run / "run.json")["sizes"];
  EXPECT_EQ(sizes["codes"].get<std::uint64_t>() + sizes["scales"].get<std::uint64_t>(), bytes);

  for (const char* verb : {"roofline", "bench"}) {
    std::vector<std::string> look{lowbit_program(), verb, "--model", packed.string()};
    if (verb == std::string("bench"))
      look = plus(look, {"--kernels", "--rows", "1", "--rounds", "1", "--output", "csv"});
    else
      look = plus(look, {"--predict", "--rows", "1"});
    const Outcome seen = run_program(look);
    ASSERT_EQ(seen.exit_code, 0) << seen.err;
    for (const char* format : {"w1a4", "w3a5", "w8a5", "w2a3", "bf16"})
      EXPECT_NE(seen.out.find(format), std::string::npos) << verb << " " << format;
  }
  // A folder whose codes lie otherwise, or with a rule that names nothing, is refused by name.
  replace_in(packed / "config.json", "\"layer_layouts\": [\n      1,", "\"layer_layouts\": [\n      2,");
  const Outcome layouts = run_program({lowbit_program(), "inspect", packed.string()});
  EXPECT_EQ(layouts.exit_code, 2);
  EXPECT_NE(layouts.err.find("layouts [2"), std::string::npos) << layouts.err;
  replace_in(packed / "config.json", "\"layer_layouts\": [\n      2,", "\"layer_layouts\": [\n      1,");
  replace_in(packed / "config.json", "blocks.0.o", "blocks.7.o");
  const Outcome nothing = run_program({lowbit_program(), "inspect", packed.string()});
  EXPECT_EQ(nothing.exit_code, 2);
  EXPECT_NE(nothing.err.find("'blocks.7.o' names no layer"), std::string::npos) << nothing.err;
}

TEST(MixedFormats, ThreeKillsLeaveTheBytesOfTheUninterruptedRun) {
  EXPECT_EQ(kill_and_resume(60, 5, 3, 29,
                            {"--layer-formats", kMixed, "--float-start", "0.3", "--cage", "5", "--cage-start", "0.5"}),
            "");
}

TEST(MixedFormats, AResumedRunTakesTheSameRulesAndNoOthers) {
  const TemporaryFolder folder;
  write_batches(folder / "b", 80, 32, 1);
  const auto with = [&](const std::string& rules, int steps) {
    return plus(small_run(folder / "b", folder / "run", steps), {"--layer-formats", rules});
  };
  ASSERT_EQ(run_program(with("down=w2a3", 4)).exit_code, 0);
  const Outcome again = run_program(plus(with("down=w2a3", 8), {"--resume"}));
  EXPECT_EQ(again.exit_code, 0) << again.err;
  const Outcome refused = run_program(plus(with("down=w2a4", 12), {"--resume"}));
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_NE(refused.err.find("--layer-formats cannot change"), std::string::npos) << refused.err;
}

TEST(MixedFormats, RulesThatCannotBeAreRefusedInOneLineBeforeAnythingIsMade) {
  const TemporaryFolder folder;
  write_batches(folder / "b", 16, 32, 1);
  const auto expect_refused = [&](const std::vector<std::string>& more, std::string_view word) {
    const Outcome refused = run_program(plus(small_run(folder / "b", folder / "no", 4), more));
    EXPECT_EQ(refused.exit_code, 2) << refused.err;
    EXPECT_EQ(line_count(refused.err), 1) << refused.err;
    EXPECT_NE(refused.err.find(word), std::string::npos) << refused.err;
  };
  expect_refused({"--layer-formats", "dwn=w4a4"}, "unknown layer kind 'dwn'");
  expect_refused({"--layer-formats", "blocks.2.*=w4a4"}, "'blocks.2.*' names no layer");
  expect_refused({"--layer-formats", "down"}, "LAYER=FORMAT");
  expect_refused({"--layer-formats", "v=w4a5"}, "blocks.0.q is w4a4 and blocks.0.v is w4a5");
  expect_refused({"--layer-formats", "blocks.1.up=bf16"}, "blocks.1.gate is w4a4 and blocks.1.up is bf16");
  expect_refused({"--layer-formats", "k=w16a4"}, "same activations");
  expect_refused({"--layer-formats", "o=f32"}, "cannot mix f32 with w4a4");
  expect_refused({"--layer-formats", "o=w4a16", "--backward", "int8", "--grid", "gaussian"}, "--backward int8");
  EXPECT_FALSE(fs::exists(folder / "no" / "run.json"));
}

}  // namespace
}  // namespace lowbit::test
