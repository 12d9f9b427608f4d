// Splits independent work among OpenMP's threads.
#pragma once

#include <omp.h>

#include <algorithm>

namespace downpour::kernels::cpu {

// Calls body(begin, end, part) for at most `threads` contiguous parts of [0, count), each in a thread of its
// own, the caller's among them. The same arguments give the same parts.
template <typename Body>
void ParallelFor(int count, int threads, Body body) {
  const int parts = std::min(count, threads);
  if (parts <= 1) {
    body(0, count, 0);
    return;
  }
#pragma omp parallel for schedule(static, 1) num_threads(parts)
  for (int part = 0; part < parts; ++part) {
    const long long size = count;
    body(static_cast<int>(size * part / parts), static_cast<int>(size * (part + 1) / parts), part);
  }
}

}  // namespace downpour::kernels::cpu
