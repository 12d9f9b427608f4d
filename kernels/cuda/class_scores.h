// A warp of 32 threads for one row, such as the scores of a sample.
#pragma once

#include "kernels/cuda/launch.h"

namespace downpour::kernels::cuda {

constexpr int kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffffu;

template <typename T>
__device__ T WarpSum(T value) {
  for (int distance = kWarp / 2; distance > 0; distance /= 2) {
    value += __shfl_xor_sync(kAllLanes, value, distance);
  }
  return value;
}

struct Highest {
  float score;
  int index;  // the first of equals
};

// Of a row that the lanes of a warp go through together; all get it.
__device__ inline Highest WarpHighest(const float* row, int classes, int lane) {
  Highest best{-INFINITY, classes};
  for (int k = lane; k < classes; k += kWarp) {
    if (row[k] > best.score || best.index == classes) best = {row[k], k};
  }
  for (int distance = kWarp / 2; distance > 0; distance /= 2) {
    const Highest other{__shfl_xor_sync(kAllLanes, best.score, distance),
                        __shfl_xor_sync(kAllLanes, best.index, distance)};
    if (other.score > best.score || (other.score == best.score && other.index < best.index)) best = other;
  }
  return best;
}

// Whether the label is among the classes of the k highest scores. Of equals the first counts as higher. A NaN counts as
// higher than any other score, and is never right itself.
__device__ inline bool WarpInTopK(const float* row, int classes, int label, int k, int lane) {
  const float own = row[label];
  int higher = 0;
  for (int j = lane; j < classes; j += kWarp) {
    higher += j < label ? !(row[j] < own) : j > label && !(row[j] <= own);
  }
  return WarpSum(higher) < k && own == own;
}

template <typename Body>
__global__ void ForEachRowKernel(Index rows, Body body) {
  const Index row = blockIdx.x * (kThreads / kWarp) + threadIdx.x / kWarp;
  if (row < rows) body(row, static_cast<int>(threadIdx.x % kWarp));
}

// body(row, lane), for all lanes of one warp a row.
template <typename Body>
void ForEachRow(const Context& context, Index rows, Body body) {
  ForEachRowKernel<<<CeilDivide(rows, kThreads / kWarp), kThreads, 0, context.stream()>>>(rows, body);
  Check(cudaGetLastError(), "starting a kernel");
}

}  // namespace downpour::kernels::cuda
