#include "lowbit/base/interrupt.h"

#include <signal.h>
#include <unistd.h>

#include <cstring>

#include "lowbit/base/error.h"

namespace lowbit {
namespace {

volatile sig_atomic_t signals = 0;

const char* volatile stop_line = nullptr;

extern "C" void on_signal(int) {
  signals = signals + 1;
  if (const char* line = stop_line) {
    [[maybe_unused]] const ssize_t put = write(STDERR_FILENO, line, std::strlen(line));
    _exit(130);
  }
  if (signals == 2) {
    constexpr char kLine[] = "lowbit: stopping; once more to stop at once, without saving\n";
    [[maybe_unused]] const ssize_t put = write(STDERR_FILENO, kLine, sizeof kLine - 1);
  }
  if (signals > 2) _exit(130);
}

}  // namespace

void catch_interrupts() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  // A closed terminal saves as Ctrl-C does, unless nohup asked for it to be ignored.
  struct sigaction before {};
  if (sigaction(SIGHUP, nullptr, &before) == 0 && before.sa_handler != SIG_IGN) sigaction(SIGHUP, &action, nullptr);
  // A reader that went away (`lowbit run ... | head`) is a failed write, not a silent death; so is a file that grows
  // past `ulimit -f`.
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN);
}

bool interrupted() { return signals != 0; }

void check_interrupt(const char* what) {
  if (signals != 0) throw Interrupted(what);
}

StopAtOnce::StopAtOnce(const char* line) {
  stop_line = line;
  if (signals == 0) return;
  stop_line = nullptr;
  throw Interrupted("stopped; nothing was written");
}

StopAtOnce::~StopAtOnce() { stop_line = nullptr; }

}  // namespace lowbit
