#include "lowbit/study/child.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <utility>

#include "lowbit/base/error.h"

namespace lowbit::study {
namespace {

constexpr int kSavesWithin = 60'000, kLookEvery = 20;  // ms

constexpr std::streamoff kTail = 65536;

/// The last bytes of a file, and whether there are more before them.
std::pair<std::string, bool> tail_of(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary | std::ios::ate);
  if (!in) return {};
  const std::streamoff size = in.tellg(), from = size > kTail ? size - kTail : 0;
  in.seekg(from);
  std::string text(static_cast<std::size_t>(size - from), '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(in.gcount()));
  return {std::move(text), from > 0};
}

}  // namespace

Child::Child(const std::vector<std::string>& arguments, const std::filesystem::path& output) {
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  const int out = open(output.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (out < 0) fail("{} cannot be written: {}", output.string(), errno_text(errno));
  const int in = open("/dev/null", O_RDONLY | O_CLOEXEC);
  const pid_t starter = getpid();
  id_ = fork();
  if (id_ == 0) {
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != starter) _exit(130);  // it died before the line above
    if (in >= 0) dup2(in, 0);
    dup2(out, 1);
    dup2(out, 2);
    execv(argv[0], argv.data());
    _exit(127);
  }
  const int error = errno;
  close(out);
  if (in >= 0) close(in);
  if (id_ < 0) fail("{} cannot be started: {}", arguments[0], errno_text(error));
}

Child::~Child() {
  if (ended()) return;
  // A training run saves first; one that does not come to its end is ended.
  kill(id_, SIGTERM);
  for (int waited = 0; waited < kSavesWithin; waited += kLookEvery) {
    if (ended()) return;
    poll(nullptr, 0, kLookEvery);
  }
  kill(id_, SIGKILL);
  waitpid(id_, nullptr, 0);
}

std::optional<int> Child::ended() {
  if (exit_code_) return exit_code_;
  int status = 0;
  const pid_t got = waitpid(id_, &status, WNOHANG);
  if (got == id_) exit_code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  if (got < 0 && errno != EINTR) exit_code_ = 127;  // not ours any more: never waited for twice
  return exit_code_;
}

void Child::interrupt() {
  if (!ended()) kill(id_, SIGINT);
}

void Child::kill_now() {
  if (!ended()) kill(id_, SIGKILL);
}

std::string last_lines(const std::filesystem::path& file) {
  auto [text, cut] = tail_of(file);
  text.resize(text.find_last_of('\n') + 1);  // npos + 1 is 0
  if (cut) text.erase(0, text.find('\n') + 1);
  return text;
}

std::string last_line(const std::filesystem::path& file) {
  std::string text = tail_of(file).first;
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' ')) text.pop_back();
  return text.substr(text.find_last_of("\n\r") + 1);
}

}  // namespace lowbit::study
