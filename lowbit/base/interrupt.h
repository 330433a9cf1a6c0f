#pragma once

namespace lowbit {

/// From here on Ctrl-C (SIGINT) and SIGTERM set a flag, which long work polls at points where it can stop cleanly.
/// A second Ctrl-C ends the process at once with code 130, as a user who is out of patience expects.
void catch_interrupts();
bool interrupted();
/// throws Interrupted(what) once the flag is set. what: one line that says what was kept and how to go on.
void check_interrupt(const char* what);

}  // namespace lowbit
