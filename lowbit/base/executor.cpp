#include "lowbit/base/executor.h"

#include <sched.h>

#include <algorithm>
#include <thread>

#include "lowbit/base/granted.h"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace lowbit {

#if defined(__x86_64__)
// Bits 15 and 6 of MXCSR: flush results to zero, read denormals as zero.
FlushDenormals::FlushDenormals() : saved_(_mm_getcsr()) {
  if ((saved_ & 0x8040u) != 0x8040u) _mm_setcsr(saved_ | 0x8040u);
}
FlushDenormals::~FlushDenormals() {
  if ((saved_ & 0x8040u) != 0x8040u) _mm_setcsr(saved_);
}
#elif defined(__aarch64__)
FlushDenormals::FlushDenormals() : saved_(0) {
  unsigned long control;
  asm volatile("mrs %0, fpcr" : "=r"(control));
  saved_ = static_cast<unsigned>(control);
  asm volatile("msr fpcr, %0" ::"r"(control | (1ul << 24)));
}
FlushDenormals::~FlushDenormals() { asm volatile("msr fpcr, %0" ::"r"(static_cast<unsigned long>(saved_))); }
#else
#error "flush-to-zero is not known for this processor"
#endif

void SerialExecutor::run(std::size_t count, Task task) {
  const FlushDenormals flush;
  for (std::size_t i = 0; i < count; ++i) task(i);
}

int available_threads() {
  int count = 0;
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) == 0) {
    count = CPU_COUNT(&set);
  }
  if (count <= 0) count = static_cast<int>(std::thread::hardware_concurrency());
  return threads_granted(std::max(1, count), granted_by_control_groups());
}

}  // namespace lowbit
