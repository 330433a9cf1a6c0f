#pragma once

namespace lowbit {

/// What else this machine did over a stretch of time, as shares of all its processors' time.
struct Load {
  double steal = 0;    ///< taken by the hypervisor for others (/proc/stat)
  double others = 0;   ///< spent on other processes
  double average = 0;  ///< the system's load average over the last minute, processes
  /// Above this, timings say more about the others than about this program.
  static constexpr double kBusy = 0.05;
  bool busy() const { return steal > kBusy || others > kBusy; }
};

/// Begins to watch when it is made. Shares are 0 where the system has no /proc/stat.
class LoadWatch {
 public:
  LoadWatch();
  /// Since it was made. Meaningful after a tenth of a second or more: the system counts in hundredths.
  Load so_far() const;

 private:
  struct Ticks {
    double all = 0, busy = 0, steal = 0;  ///< seconds
  };
  static Ticks ticks();
  static double own();
  Ticks begin_;
  double own_begin_;
};

}  // namespace lowbit
