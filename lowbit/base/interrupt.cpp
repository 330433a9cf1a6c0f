#include "lowbit/base/interrupt.h"

#include <signal.h>
#include <unistd.h>

#include "lowbit/base/error.h"

namespace lowbit {
namespace {

volatile sig_atomic_t flag = 0;

extern "C" void on_signal(int) {
  if (flag) _exit(130);
  flag = 1;
}

}  // namespace

void catch_interrupts() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  // A reader that went away (`lowbit run ... | head`) is a failed write, not a silent death.
  signal(SIGPIPE, SIG_IGN);
}

bool interrupted() { return flag != 0; }

void check_interrupt(const char* what) {
  if (flag) throw Interrupted(what);
}

}  // namespace lowbit
