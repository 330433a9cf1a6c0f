#pragma once

namespace lowbit {

/// From here on Ctrl-C (SIGINT), SIGTERM and a closed terminal (SIGHUP, unless it was ignored as under nohup) set a
/// flag, which long work polls at points where it can save and stop. A second signal prints a line and changes nothing,
/// so that an impatient key press does not cost what is being saved. The third ends the process at once with code 130.
/// A reader that went away (SIGPIPE) and a file at the limit of `ulimit -f` (SIGXFSZ) become failed writes.
void catch_interrupts();
bool interrupted();
/// throws Interrupted(what) once the flag is set. what: one line that says what was kept and how to go on.
void check_interrupt(const char* what);

/// While it lives, the first signal prints a line and ends the process with code 130: around a library's long call,
/// which polls nothing, where no file is being written. line: with the line feed; it must outlive the object.
class StopAtOnce {
 public:
  /// throws Interrupted: a signal came already.
  explicit StopAtOnce(const char* line);
  ~StopAtOnce();
  StopAtOnce(const StopAtOnce&) = delete;
  StopAtOnce& operator=(const StopAtOnce&) = delete;
};

}  // namespace lowbit
