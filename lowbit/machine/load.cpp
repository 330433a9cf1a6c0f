#include "lowbit/machine/load.h"

#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string>

namespace lowbit {

LoadWatch::Ticks LoadWatch::ticks() {
  std::ifstream file("/proc/stat");
  std::string name;
  double user = 0, nice = 0, system = 0, idle = 0, wait = 0, irq = 0, soft_irq = 0, steal = 0;
  if (!(file >> name >> user >> nice >> system >> idle >> wait >> irq >> soft_irq >> steal)) return {};
  const double second = static_cast<double>(sysconf(_SC_CLK_TCK));
  const double busy = user + nice + system + irq + soft_irq;
  return {(busy + idle + wait + steal) / second, busy / second, steal / second};
}

double LoadWatch::own() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

LoadWatch::LoadWatch() : begin_(ticks()), own_begin_(own()) {}

Load LoadWatch::so_far() const {
  Load load;
  const Ticks now = ticks();
  const double all = now.all - begin_.all;
  if (all > 0) {
    load.steal = std::max(0.0, now.steal - begin_.steal) / all;
    load.others = std::max(0.0, now.busy - begin_.busy - (own() - own_begin_)) / all;
  }
  std::ifstream("/proc/loadavg") >> load.average;
  return load;
}

}  // namespace lowbit
