#include "lowbit/base/executor.h"

#include <sched.h>

#include <thread>

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
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) == 0) {
    const int count = CPU_COUNT(&set);
    if (count > 0) return count;
  }
  const unsigned hardware = std::thread::hardware_concurrency();
  return hardware ? static_cast<int>(hardware) : 1;
}

}  // namespace lowbit
