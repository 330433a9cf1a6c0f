#include <gtest/gtest.h>

#include <fstream>

#include "train/support.h"

namespace lowbit::test {
namespace {

namespace fs = std::filesystem;

/// Text of a little language, enough for a tokenizer of 300 pieces.
void write_text(const fs::path& file, const char* noun, int lines) {
  std::ofstream out(file);
  for (int i = 0; i < lines; ++i)
    out << "The " << noun << " number " << i % 97 << " saw " << (i * 7) % 89 << " other " << noun
        << "s by the river.\n\n";
}

/// Two texts, two tokenizers, and data folders of their combinations.
class DataIdentity : public testing::Test {
 protected:
  TemporaryFolder folder;

  void SetUp() override {
    write_text(folder / "fox.txt", "fox", 3000);
    write_text(folder / "owl.txt", "owl", 3000);
    for (const std::string name : {"fox", "owl"})
      done({lowbit_program(), "tokenizer", "train", "--in", path(name + ".txt"), "--vocab", "300", "--out",
            path(name + ".model")});
    data("fox.txt", "fox.model", "data");
  }
  std::string path(const std::string& name) const { return (folder / name).string(); }
  static Outcome done(const std::vector<std::string>& arguments) {
    const Outcome outcome = run_program(arguments);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return outcome;
  }
  void data(const std::string& text, const std::string& tokenizer, const std::string& out) {
    done({lowbit_program(), "data", "--in", path(text), "--tokenizer", path(tokenizer), "--out", path(out), "--force"});
  }
  std::vector<std::string> train(const std::string& data, const std::string& out,
                                 const std::vector<std::string>& more = {}) {
    return plus({train_program(),
                 "train",
                 "--data",
                 path(data),
                 "--out",
                 path(out),
                 "--format",
                 "w4a4",
                 "--layers",
                 "1",
                 "--width",
                 "64",
                 "--heads",
                 "2",
                 "--mlp",
                 "64",
                 "--steps",
                 "6",
                 "--batch",
                 "2",
                 "--seq",
                 "32",
                 "--eval-every",
                 "3",
                 "--checkpoint-every",
                 "3",
                 "--eval-tokens",
                 "512",
                 "--sample-tokens",
                 "0"},
                more);
  }
  std::vector<std::string> resume(const std::string& out, const std::vector<std::string>& more = {}) {
    return plus({train_program(), "train", "--resume", "--out", path(out), "--steps", "9"}, more);
  }
  static void refused(const std::vector<std::string>& arguments, const std::string& why) {
    const Outcome outcome = run_program(arguments);
    EXPECT_EQ(outcome.exit_code, 2) << outcome.err;
    EXPECT_EQ(line_count(outcome.err), 1) << outcome.err;
    EXPECT_NE(outcome.err.find(why), std::string::npos) << outcome.err;
  }
};

TEST_F(DataIdentity, ARunGoesOnWithTheSameDataUnderAnotherPathAndWithNoOther) {
  done(train("data", "run"));
  done(train("data", "whole", {"--steps", "9"}));
  fs::rename(folder / "data", folder / "moved");
  const Outcome lost = run_program(resume("run"));
  EXPECT_EQ(lost.exit_code, 2) << lost.err;
  data("owl.txt", "fox.model", "data");
  refused(resume("run"), "holds other data than this run was begun with (the train shard differs)");
  done(resume("run", {"--data", path("moved")}));
  // From here on the new place is the recorded one.
  done({train_program(), "train", "--resume", "--out", path("run"), "--steps", "12"});
}

TEST_F(DataIdentity, ARunFromBeforeIdentitiesWereRecordedGoesOn) {
  done(train("data", "run"));
  std::string info = bytes_of(folder / "run/run.json");
  const std::size_t begin = info.find("  \"data\": {"), end = info.find("},", begin);
  ASSERT_NE(begin, std::string::npos) << info;
  info.erase(begin, info.find('\n', end) + 1 - begin);
  std::ofstream(folder / "run/run.json") << info;
  done(resume("run"));
  EXPECT_NE(bytes_of(folder / "run/run.json").find("\"valid\""), std::string::npos);
}

TEST_F(DataIdentity, OtherWindowsUnderTheRecordedPathAreRefused) {
  write_batches(folder / "b", 48, 32, 1);
  done(small_run(folder / "b", folder / "run", 6));
  write_batches(folder / "b", 48, 32, 2);
  refused({train_program(), "train", "--resume", "--out", path("run"), "--steps", "9"}, "its content differs");
}

TEST_F(DataIdentity, IdsOfAnotherTokenizerAreRefusedByEveryVerbThatTakesAModel) {
  done(train("data", "run"));
  data("fox.txt", "owl.model", "other");
  const std::string why = "holds ids of another tokenizer";
  refused({lowbit_program(), "eval", "--model", path("run"), "--data", path("other")}, why);
  refused({train_program(), "diagnose", "--model", path("run"), "--data", path("other")}, why);
  refused(train("other", "new", {"--init", path("run")}), why);
  refused(train("other", "student", {"--distill", path("run")}), why);
  done({lowbit_program(), "eval", "--model", path("run"), "--data", path("data")});
}

TEST_F(DataIdentity, AFolderThatMixesTwoTextsOrTokenizersIsRefused) {
  data("owl.txt", "owl.model", "owl");
  const auto mixed = [&](const char* file, const std::string& why) {
    fs::remove_all(folder / "mixed");
    fs::copy(folder / "data", folder / "mixed");
    fs::copy_file(folder / "owl" / file, folder / "mixed" / file, fs::copy_options::overwrite_existing);
    refused(train("mixed", "run-mixed"), why);
  };
  mixed("train.lbd", "is not the shard that");
  mixed("valid.lbd", "is not the shard that");
  mixed("tokenizer.model", "is not the tokenizer that the ids beside it are of");
  mixed("data.json", "is not the shard that");
  fs::remove(folder / "data/data.json");
  refused(train("data", "run"), "holds no data.json");
}

TEST_F(DataIdentity, ASweepDoesNotMixResultsOfTwoTexts) {
  std::ofstream(folder / "sweep.toml")
      << "[fixed]\ndata = \"" << path("data") << "\"\nlayers = 1\nwidth = 64\nheads = 2\nmlp = 64\n"
      << "steps = 4\nbatch = 2\nseq = 32\n\n[[cells]]\nformat = [\"w4a4\", \"w2a2\"]\n";
  const std::vector<std::string> sweep{lowbit_program(),   "sweep", "--config",
                                       path("sweep.toml"), "--out", path("runs")};
  const Outcome first = run_program(sweep);
  ASSERT_EQ(first.exit_code, 0) << first.err;
  data("owl.txt", "fox.model", "data");
  refused(sweep, "was trained on other data than its flags name now (train differs)");
}

}  // namespace
}  // namespace lowbit::test
