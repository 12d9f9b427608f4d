// Sixteen planes side by side: a vector for each of their places, a lane for each plane. For CPUs with AVX-512.
#pragma once

#include <cstddef>

#include "kernels/cpu/lanes.h"

namespace downpour::kernels::cpu {

// Which places of planes, one behind the other in rows, and where their vectors lie.
struct LaneRows {
  int count = 0;          // of places
  int width = 0;          // places of a row
  std::size_t pitch = 0;  // vectors from one row to the next
};

// to[(i / width) * pitch + i % width][lane] = planes[lane * stride + i] for each place i; zero in lanes from
// `planes_count` on.
void ToLanes(const float* planes, std::size_t stride, int planes_count, const LaneRows& rows, float* to);

// The other way round, with bias[lane] added where there is a bias.
void FromLanes(const float* lanes, const LaneRows& rows, const float* bias, int planes_count, float* to,
               std::size_t stride);

}  // namespace downpour::kernels::cpu
