// A warp of 32 threads for the scores of one sample.
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

template <typename Body>
__global__ void ForEachRowKernel(Index rows, Body body) {
  const Index row = (blockIdx.x * blockDim.x + threadIdx.x) / kWarp;
  if (row < rows) body(row, static_cast<int>(threadIdx.x % kWarp));
}

// body(row, lane), for all lanes of one warp a row.
template <typename Body>
void ForEachRow(const Context& context, Index rows, Body body) {
  ForEachRowKernel<<<CeilDivide(rows, kThreads / kWarp), kThreads, 0, context.stream()>>>(rows, body);
  Check(cudaGetLastError(), "starting a kernel");
}

}  // namespace downpour::kernels::cuda
