#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <nlohmann/json.hpp>

#include "cli/process.h"
#include "sample_text.h"
#include "support/data.h"

namespace lowbit {
namespace {

using test::Outcome;

class TextVerbs : public testing::Test {
 protected:
  Outcome run(std::vector<std::string> arguments, const std::string& to = {}) {
    arguments.insert(arguments.begin(), LOWBIT_PROGRAM);
    return test::run_program(arguments, to);
  }
  std::string file(std::string_view name, std::string_view bytes) {
    test::put_file(folder / name, bytes);
    return (folder / name).string();
  }
  std::string path(std::string_view name) { return (folder / name).string(); }
  /// One line on standard error, code 2, and nothing on standard output.
  void expect_refused(const std::vector<std::string>& arguments, std::string_view part) {
    const Outcome outcome = run(arguments);
    EXPECT_EQ(outcome.exit_code, 2) << outcome.err;
    EXPECT_EQ(test::line_count(outcome.err), 1) << outcome.err;
    EXPECT_EQ(outcome.out, "");
    EXPECT_NE(outcome.err.find(part), std::string::npos) << outcome.err;
  }
  test::TemporaryFolder folder;
};

TEST_F(TextVerbs, FromTextToATokenizerToIdsAndBack) {
  const std::string text = test::sample_text(100000);
  const Outcome trained =
      run({"tokenizer", "train", "--in", file("text.txt", text), "--vocab", "400", "--out", path("t.model"), "--json"});
  ASSERT_EQ(trained.exit_code, 0) << trained.err;
  EXPECT_EQ(nlohmann::json::parse(trained.out)["vocabulary"], 400);

  std::string hard;
  for (const std::string& one : test::hard_texts()) hard += one + "\n";
  for (const std::string width : {"2", "4"}) {
    ASSERT_EQ(run({"tokenizer", "encode", "--tokenizer", path("t.model"), "--in", file("hard", hard), "--out",
                   path("ids"), "--ids-bytes", width})
                  .exit_code,
              0);
    ASSERT_EQ(run({"tokenizer", "decode", "--tokenizer", path("t.model"), "--in", path("ids"), "--ids-bytes", width,
                   "--out", path("back")})
                  .exit_code,
              0);
    EXPECT_EQ(test::get_file(path("back")), hard);
  }
  Outcome ids = run({"tokenizer", "encode", "--tokenizer", path("t.model"), "--text", " the \u2581 house\n"});
  ASSERT_EQ(ids.exit_code, 0);
  EXPECT_EQ(run({"tokenizer", "decode", "--tokenizer", path("t.model"), "--ids", ids.out}).out, " the \u2581 house\n");
  EXPECT_EQ(run({"tokenizer", "encode", "--tokenizer", path("t.model"), "--bos", "--text", ""}).out, "1\n");
  const Outcome inspected = run({"tokenizer", "inspect", "--tokenizer", path("t.model"), "--json"});
  EXPECT_EQ(nlohmann::json::parse(inspected.out)["brings_back_every_text"], true);
}

TEST_F(TextVerbs, TrainingIsTheSameForAnyThreads) {
  const std::string in = file("text.txt", test::sample_text(50000));
  for (const std::string threads : {"1", "2"})
    ASSERT_EQ(run({"tokenizer", "train", "--in", in, "--vocab", "400", "--out", path(threads), "--threads", threads})
                  .exit_code,
              0);
  EXPECT_EQ(test::get_file(path("1")), test::get_file(path("2")));
}

TEST_F(TextVerbs, DataFromTextAndFromTokenFiles) {
  file("t.model", test::sample_tokenizer().file_bytes());
  Outcome made = run({"data", "--in", file("text.txt", test::sample_text(300000)), "--tokenizer", path("t.model"),
                      "--out", path("data"), "--json"});
  ASSERT_EQ(made.exit_code, 0) << made.err;
  auto json = nlohmann::json::parse(made.out);
  EXPECT_EQ(json["train"]["bytes"].get<int>() + json["valid"]["bytes"].get<int>(),
            static_cast<int>(test::sample_text(300000).size()));

  made = run(
      {"data", "--tokens-u16", file("raw.bin", std::string(2000, '\1')), "--vocab-size", "300", "--out", path("raw")});
  ASSERT_EQ(made.exit_code, 0) << made.err;
  EXPECT_NE(made.out.find("980"), std::string::npos) << made.out;
}

/// The exit code of a program that is sent a signal once it waits for text, and whether it ended within two seconds.
int code_after_signal(std::vector<std::string> arguments, int signal) {
  arguments.insert(arguments.begin(), LOWBIT_PROGRAM);
  const pid_t child = fork();
  if (child == 0) {
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    dup2(open("/dev/null", O_WRONLY), 2);
    execv(argv[0], argv.data());
    _exit(127);
  }
  usleep(700'000);
  kill(child, signal);
  int status = 0;
  for (int i = 0; i < 200; ++i, usleep(10'000))
    if (waitpid(child, &status, WNOHANG) == child)
      return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  kill(child, SIGKILL);
  waitpid(child, &status, 0);
  return -1;
}

TEST_F(TextVerbs, ASignalStopsThemWhereverTextComesFromAndNothingIsLeft) {
  const std::string model = file("t.model", test::sample_tokenizer().file_bytes());
  ASSERT_EQ(mkfifo(path("pipe").c_str(), 0600), 0);
  for (const int signal : {SIGINT, SIGTERM}) {
    EXPECT_EQ(code_after_signal(
                  {"data", "--in", path("pipe"), "--valid-in", path("pipe"), "--tokenizer", model, "--out", path("d")},
                  signal),
              130);
    EXPECT_FALSE(std::filesystem::exists(path("d") + "/data.json"));
    EXPECT_EQ(code_after_signal({"tokenizer", "train", "--in", path("pipe"), "--out", path("x")}, signal), 130);
    EXPECT_FALSE(std::filesystem::exists(path("x")));
  }
}

TEST_F(TextVerbs, EncodingInStretchesGivesTheIdsOfTheWhole) {
  const std::string model = file("t.model", test::sample_tokenizer().file_bytes());
  const std::string text = test::sample_text(2'500'000);
  ASSERT_EQ(run({"tokenizer", "encode", "--tokenizer", model, "--in", file("text.txt", text), "--out", path("ids"),
                 "--ids-bytes", "4", "--bos"})
                .exit_code,
            0);
  const std::vector<text::TokenId> wanted = test::sample_tokenizer().encode_document(text);
  EXPECT_EQ(test::get_file(path("ids")),
            std::string_view(reinterpret_cast<const char*>(wanted.data()), wanted.size() * sizeof(text::TokenId)));
}

TEST_F(TextVerbs, TextOptionsSayWhatFilesAre) {
  const std::string model = file("t.model", test::sample_tokenizer().file_bytes());
  const std::string lines = file("lines", "{\"text\":\"one and more\"}\n{\"text\":\"two and more\"}\n");
  const auto bytes = [&](const std::string& format, const std::string& out) {
    const Outcome made = run({"data", "--in", lines, "--valid-in", lines, "--tokenizer", model, "--input-format",
                              format, "--out", path(out), "--json"});
    EXPECT_EQ(made.exit_code, 0) << made.err;
    return nlohmann::json::parse(made.out)["train"]["bytes"].get<int>();
  };
  EXPECT_EQ(bytes("auto", "a"), 24);
  EXPECT_EQ(bytes("jsonl", "b"), 24);
  EXPECT_EQ(bytes("text", "c"), 48);
  expect_refused({"data", "--in", lines, "--tokenizer", model, "--input-format", "csv", "--out", path("d")},
                 "--input-format");
  expect_refused({"data", "--in", lines, "--tokenizer", model, "--max-line", "10", "--out", path("d")}, "--max-line");
  expect_refused({"tokenizer", "train", "--in", file("p.parquet", std::string("PAR1\0\0", 6)), "--out", path("x")},
                 "Parquet");
}

TEST_F(TextVerbs, WrongUseAndBadInputAreOneLineAndCodeTwo) {
  const std::string model = file("t.model", test::sample_tokenizer().file_bytes());
  const std::string text = file("text.txt", test::sample_text(30000));
  expect_refused({"tokenizer", "train", "--in", text, "--vocab", "60000", "--out", path("x")}, "use --vocab");
  expect_refused({"tokenizer", "train", "--in", text, "--vocab", "10", "--out", path("x")}, "--vocab 10");
  expect_refused({"tokenizer", "train", "--in", path("missing"), "--out", path("x")}, "missing");
  expect_refused({"tokenizer", "encode", "--tokenizer", model, "--in", file("bad", "a\xFF")}, "byte 1 ");
  expect_refused({"tokenizer", "encode", "--tokenizer", text, "--text", "x"}, "not a SentencePiece model");
  expect_refused({"tokenizer", "decode", "--tokenizer", model, "--ids", "1 2 x"}, "byte 4");
  expect_refused({"tokenizer", "decode", "--tokenizer", model, "--ids", "600"}, "id 600");
  expect_refused({"tokenizer", "decode", "--tokenizer", model, "--in", file("odd", "abc")}, "3 bytes");
  expect_refused({"data", "--in", text, "--out", path("d")}, "--tokenizer");
  expect_refused({"data", "--in", path("missing"), "--tokenizer", model, "--out", path("d")}, "missing");
  expect_refused({"data", "--tokens-u16", text, "--out", path("d")}, "--vocab-size");
  expect_refused({"data", "--in", text, "--tokenizer", model, "--valid-share", "0", "--out", path("d")},
                 "--valid-share");
  expect_refused({"data", "--in", text, "--tokenizer", model, "--out", text}, "is a file");
  EXPECT_FALSE(std::filesystem::exists(path("d")));
  EXPECT_FALSE(std::filesystem::exists(path("x")));
}

}  // namespace
}  // namespace lowbit
