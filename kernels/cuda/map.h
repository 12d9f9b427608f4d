// Elementwise ops, which are as fast as memory is: four values at a time where that is possible.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/launch.h"

namespace downpour::kernels::cuda {

// Whether fours of all of them can be read and written at once.
template <typename... Values>
bool AreAligned(const Values*... values) {
  return ((reinterpret_cast<std::uintptr_t>(values) % sizeof(float4) == 0) && ...);
}

template <typename Value, typename... Fours>
__device__ float4 ValueOfFour(Index i, const Value& value, const Fours&... x) {
  return {value(i, x.x...), value(i + 1, x.y...), value(i + 2, x.z...), value(i + 3, x.w...)};
}

template <typename Value, typename... Inputs>
__global__ void __launch_bounds__(kThreads) MapKernel(Index size, Index fours, float* y, Value value, Inputs... x) {
  const Index thread = blockIdx.x * kThreads + threadIdx.x, threads = gridDim.x * kThreads;
  for (Index i = thread; i < fours; i += threads) {
    reinterpret_cast<float4*>(y)[i] = ValueOfFour(4 * i, value, reinterpret_cast<const float4*>(x)[i]...);
  }
  for (Index i = 4 * fours + thread; i < size; i += threads) y[i] = value(i, x[i]...);
}

// y[i] = value(i, x[i]...) for each i below `size`, on any thread of the GPU; y may be one of x, which are const
// float*.
template <typename Value, typename... Inputs>
void Map(const Context& context, std::size_t size, float* y, Value value, Inputs... x) {
  if (size == 0) return;
  const Index all = static_cast<Index>(size), fours = AreAligned(y, x...) ? all / 4 : 0;
  const Index threads = fours > 0 ? fours : all;
  const Index blocks = std::min<Index>(CeilDivide(threads, kThreads), context.multiprocessors() * 16);
  MapKernel<<<blocks, kThreads, 0, context.stream()>>>(all, fours, y, value, x...);
  Check(cudaGetLastError(), "starting a kernel");
}

}  // namespace downpour::kernels::cuda
