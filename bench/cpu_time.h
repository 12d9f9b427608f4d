// The time that a thread itself has computed, so that others on the machine take nothing from it but caches and memory.
#pragma once

#include <ctime>

namespace downpour::bench {

// Seconds of the calling thread.
inline double CpuSeconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

}  // namespace downpour::bench
