#include "cli/process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <stdexcept>

namespace lowbit::test {

Outcome run_program(const std::vector<std::string>& arguments, const std::string& stdout_path, int signal_after_line) {
  int out[2], err[2];
  if (pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC)) throw std::runtime_error("no pipe");
  const pid_t child = fork();
  if (child < 0) throw std::runtime_error("no process");
  if (child == 0) {
    dup2(open("/dev/null", O_RDONLY), 0);
    dup2(stdout_path.empty() ? out[1] : open(stdout_path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666), 1);
    dup2(err[1], 2);
    std::vector<char*> argv;
    for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    execv(argv[0], argv.data());
    _exit(127);
  }
  close(out[1]);
  close(err[1]);
  Outcome outcome;
  bool signalled = signal_after_line == 0;
  pollfd ends[2] = {{out[0], POLLIN, 0}, {err[0], POLLIN, 0}};
  std::string* texts[2] = {&outcome.out, &outcome.err};
  for (int open_ends = 2; open_ends > 0;) {
    poll(ends, 2, -1);
    for (int i = 0; i < 2; ++i) {
      if (!ends[i].revents) continue;
      char buffer[4096];
      const ssize_t got = read(ends[i].fd, buffer, sizeof buffer);
      if (got > 0) {
        texts[i]->append(buffer, static_cast<std::size_t>(got));
      } else {
        ends[i].fd = -1;
        --open_ends;
      }
    }
    if (!signalled && outcome.out.find('\n') != std::string::npos) {
      kill(child, signal_after_line);
      signalled = true;
    }
  }
  close(out[0]);
  close(err[0]);
  int status = 0;
  waitpid(child, &status, 0);
  outcome.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return outcome;
}

int line_count(const std::string& text) {
  if (text.empty()) return 0;
  if (text.back() != '\n') return -1;
  return static_cast<int>(std::count(text.begin(), text.end(), '\n'));
}

}  // namespace lowbit::test
