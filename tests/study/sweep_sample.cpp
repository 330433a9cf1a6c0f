#include <fmt/format.h>
#include <stdio.h>

#include "lowbit/base/error.h"
#include "lowbit/base/interrupt.h"
#include "lowbit/study/sweep.h"

// A sweep as a program, to be interrupted and killed: PLAN OUT TRAINER JOBS. Prints a line for each change.
int main(int, char** argv) {
  using namespace lowbit;
  catch_interrupts();
  study::SweepOptions options;
  options.out = argv[2];
  options.program = argv[3];
  options.jobs = argv[4][0] - '0';
  try {
    const auto cells =
        study::sweep(study::read_plan(argv[1]), options, [](const auto&, const study::CellState* changed) {
          if (!changed) return;
          fmt::print("{} {}\n", changed->cell.name, study::name_of(changed->state));
          fflush(stdout);
        });
    for (const auto& cell : cells)
      fmt::print("end {} {} {}\n", cell.cell.name, study::name_of(cell.state), cell.message);
  } catch (const Error& error) {
    fmt::print(stderr, "{}\n", error.what());
    return error.exit_code();
  }
  return interrupted() ? 130 : 0;
}
