// Verbs that print the flags they were given, or fail as they are told.
#include <fmt/format.h>
#include <unistd.h>

#include <iostream>
#include <memory>
#include <new>
#include <stdexcept>

#include "lowbit/base/error.h"
#include "lowbit/base/interrupt.h"
#include "lowbit/cli/command.h"

using namespace lowbit;
using namespace lowbit::cli;

namespace {

void add_print(CLI::App& verb) {
  struct Flags {
    std::vector<std::string> in;
    std::string name = "none";
    int tokens = 10;
    double rate = 0.5;
    std::int64_t steps = 0;
    double memory = 0;
    std::string shade = "red";
    std::uint64_t seed = 7;
    bool loud = false, all = false;
    std::filesystem::path path;
    CommonFlags common;
  };
  auto flags = std::make_shared<Flags>();
  add_option(verb, "--in", flags->in, "texts to read")->required();
  add_option(verb, "--name", flags->name, "a name");
  add_option(verb, "--tokens", flags->tokens, {1, 1'000'000}, "how many tokens");
  add_option(verb, "--steps", flags->steps, {1}, "how many steps")->default_str("as many as the tokens give");
  add_option(verb, "--rate", flags->rate, {-2, 10, true}, "a rate, per second");
  add_quantity(verb, "--memory", flags->memory, "bytes");
  add_choice(verb, "--shade", flags->shade, {"red", "green", "blue"}, "a colour");
  add_option(verb, "--path", flags->path, "a file");
  add_seed(verb, flags->seed, "seed of the draws");
  add_flag(verb, "--loud,!--quiet", flags->loud, "a switch");
  add_flag(verb, "--all", flags->all, "print all flags");
  add_common(verb, flags->common);
  verb.callback([flags] {
    const int threads = apply_common(flags->common);
    std::cout << fmt::format("in={} name={} tokens={} rate={} loud={} threads>0={} json={}\n",
                             fmt::join(flags->in, ","), flags->name, flags->tokens, flags->rate, flags->loud,
                             threads > 0, flags->common.json);
    if (flags->all)
      std::cout << fmt::format("steps={} memory={} shade={} seed={}\n", flags->steps, flags->memory, flags->shade,
                             flags->seed);
  });
}

void add_nested(CLI::App& verb) {
  verb.require_subcommand(1);
  auto out = std::make_shared<std::string>();
  CLI::App* make = verb.add_subcommand("make", "make a thing");
  make->add_option("--out", *out, "file to write")->required();
  make->callback([out] { std::cout << "made " << *out << "\n"; });
  verb.add_subcommand("show", "show a thing")->callback([] { std::cout << "shown\n"; });
}

void add_fail(CLI::App& verb) {
  auto how = std::make_shared<std::string>();
  verb.add_option("HOW", *how, "usage, input, failed, memory, other or interrupt")->required();
  verb.callback([how] {
    if (*how == "usage") fail_usage("used wrongly");
    if (*how == "input") fail_input("file 'a\nb' is bad");
    if (*how == "failed") fail("disk is full");
    if (*how == "memory") throw std::bad_alloc();
    if (*how == "other") throw std::logic_error("a bug");
    std::cout << "working" << std::endl;
    for (int i = 0; i < 1000; ++i) {
      check_interrupt("stopped; repeat the command to go on");
      usleep(10000);
    }
  });
}

void add_engine(CLI::App& verb) {
  auto engine = std::make_shared<std::string>("run");
  verb.add_option("--engine", *engine, "train or run");
  verb.callback([engine] { std::cout << "engine " << *engine << "\n"; });
}

constexpr Command kCommands[] = {
    {"print", "print the flags given", add_print},
    {"nested", "has verbs of its own", add_nested},
    {"fail", "fail as told", add_fail},
    {"engine", "one of two engines", add_engine},
};
constexpr Command kHandedOver[] = {{"train", "done by the second program", nullptr}, {"engine", "", nullptr}};

}  // namespace

int main(int argc, char** argv) { return main_program(argc, argv, {"sample", ""}, kCommands, kHandedOver); }
