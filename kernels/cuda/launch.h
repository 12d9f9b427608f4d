// How ops start kernels.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <new>

#include "kernels/cuda/context.h"
#include "kernels/tensor_view.h"

namespace downpour::kernels::cuda {

// Of values in a tensor, which has fewer than 2^31.
using Index = std::uint32_t;

// Throws std::bad_alloc where a batch has too many values for an Index; no GPU of today would hold the tensors that an
// op takes then.
inline void CheckSize(const Shape& shape, int max_batch) {
  if (shape.size() > static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max()) / max_batch) {
    throw std::bad_alloc();
  }
}

inline Index CeilDivide(Index a, Index b) { return (a + b - 1) / b; }

constexpr int kThreads = 256;

template <typename Body>
__global__ void ForEachKernel(Index size, Body body) {
  for (Index i = blockIdx.x * blockDim.x + threadIdx.x; i < size; i += gridDim.x * blockDim.x) body(i);
}

// body(i) for each i below size, on any thread of the GPU.
template <typename Body>
void ForEach(const Context& context, std::size_t size, Body body) {
  const Index blocks = std::min<Index>(CeilDivide(static_cast<Index>(size), kThreads), context.multiprocessors() * 16);
  if (size == 0) return;
  ForEachKernel<<<blocks, kThreads, 0, context.stream()>>>(static_cast<Index>(size), body);
  Check(cudaGetLastError(), "starting a kernel");
}

// Sums `value` over a block of kThreads, in an order that is always the same; all threads get the sum.
template <typename T>
__device__ T BlockSum(T value) {
  __shared__ T sums[kThreads];
  sums[threadIdx.x] = value;
  __syncthreads();
  for (int half = kThreads / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
    __syncthreads();
  }
  const T sum = sums[0];
  __syncthreads();
  return sum;
}

template <typename Body>
__global__ void SumKernel(Index size, Body body, float* sums) {
  float sum = 0;
  for (Index i = threadIdx.x; i < size; i += kThreads) sum += body(blockIdx.x, i);
  sum = BlockSum(sum);
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

// sums[k] = the sum of body(k, i) over all i below size.
template <typename Body>
void SumEach(const Context& context, Index count, Index size, float* sums, Body body) {
  SumKernel<<<count, kThreads, 0, context.stream()>>>(size, body, sums);
  Check(cudaGetLastError(), "starting a kernel");
}

// Threads of one block for so many neighbouring values, so that reads are whole sectors, and so many pieces at a time.
constexpr Index kPieceColumns = 8;
constexpr Index kPieceRows = kThreads / kPieceColumns;

template <typename Value, typename Body>
__global__ void SumRowsKernel(Index count, Index size, Value value, Body body) {
  __shared__ float sums[kPieceRows][kPieceColumns];
  const Index column = threadIdx.x % kPieceColumns, row = threadIdx.x / kPieceColumns;
  const Index i = blockIdx.x * kPieceColumns + column;
  float sum = 0;
  for (Index piece = row; i < size && piece < count; piece += kPieceRows) sum += value(piece, i);
  sums[row][column] = sum;
  __syncthreads();
  for (Index half = kPieceRows / 2; half > 0; half /= 2) {
    if (row < half) sums[row][column] += sums[row + half][column];
    __syncthreads();
  }
  if (row == 0 && i < size) body(i, sums[0][column]);
}

// body(i, the sum of value(k, i) over all k below `count`), for each i below `size`, where values of neighbouring i lie
// together.
template <typename Value, typename Body>
void SumRows(const Context& context, Index count, Index size, Value value, Body body) {
  SumRowsKernel<<<CeilDivide(size, kPieceColumns), kThreads, 0, context.stream()>>>(count, size, value, body);
  Check(cudaGetLastError(), "starting a kernel");
}

// Of pieces that follow each other: body(i, the sum of pieces[k][i] over all k).
template <typename Body>
void SumPieces(const Context& context, const float* pieces, Index count, Index size, Body body) {
  SumRows(context, count, size, [pieces, size] __device__(Index k, Index i) { return pieces[k * size + i]; }, body);
}

}  // namespace downpour::kernels::cuda
