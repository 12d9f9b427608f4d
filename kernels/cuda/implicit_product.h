// A matrix product whose operands are computed where they are needed, instead of lying in memory.
//
//   result(m, n) = sum over k of problem.A(m, k) * problem.B(k, n)       for each group, if there are several
//
// Each block of threads makes one tile of the result, from slices of the operands that go through shared memory; the
// next slice is fetched while the present one is multiplied. Where there are few tiles, the sum is split and each piece
// stored apart.
#pragma once

#include "kernels/cuda/launch.h"

namespace downpour::kernels::cuda {

struct ProductSize {
  Index rows;     // m
  Index columns;  // n
  Index inner;    // k
  Index groups;   // products of that size, each by itself
};

// Threads of a block, and what each makes: kRows * kColumns values of a tile of that many rows and columns.
template <int kTileRows, int kTileColumns, int kThreadRows, int kThreadColumns>
struct Tile {
  static constexpr int rows = kTileRows;
  static constexpr int columns = kTileColumns;
  static constexpr int thread_rows = kThreadRows;
  static constexpr int thread_columns = kThreadColumns;
  static constexpr int threads_across = kTileColumns / kThreadColumns;
  static constexpr int threads = kTileRows / kThreadRows * threads_across;
};

constexpr int kSlice = 16;  // values of k at a time

// A problem has, for the device:
//   Index Inner(Index group, Index inner)         how many k a group has, of the size's `inner`
//   float A(Index group, Index m, Index k)
//   Column ColumnAt(Index group, Index n)         what all B of a column have in common
//   float B(Index k, Column column)
//   void Store(Index group, Index m, Index n, Index piece, float value)
template <typename Tile, typename Problem>
__global__ void __launch_bounds__(Tile::threads)
    ProductKernel(Problem problem, ProductSize size, Index inner_of_piece) {
  constexpr int kA = Tile::rows * kSlice / Tile::threads;     // values that a thread fetches of each slice
  constexpr int kB = Tile::columns * kSlice / Tile::threads;
  static_assert(Tile::threads % Tile::columns == 0, "a thread fetches values of one column");
  constexpr int kStepA = Tile::threads / kSlice;
  constexpr int kStepB = Tile::threads / Tile::columns;
  __shared__ float a_slice[kSlice][Tile::rows + 4];
  __shared__ float b_slice[kSlice][Tile::columns];

  const int thread = threadIdx.x;
  const Index tiles_across = (size.columns + Tile::columns - 1) / Tile::columns;
  const Index group = blockIdx.x / tiles_across;
  const Index first_row = blockIdx.y * Tile::rows, first_column = (blockIdx.x - group * tiles_across) * Tile::columns;
  const Index begin = blockIdx.z * inner_of_piece;
  const Index end = min(problem.Inner(group, size.inner), begin + inner_of_piece);

  const int a_k = thread % kSlice, a_row = thread / kSlice;
  const int b_column = thread % Tile::columns, b_k = thread / Tile::columns;
  const bool column_is_there = first_column + b_column < size.columns;
  const auto column = problem.ColumnAt(group, column_is_there ? first_column + b_column : 0);

  float next_a[kA], next_b[kB];
  const auto fetch = [&](Index k0) {
#pragma unroll
    for (int i = 0; i < kA; ++i) {
      const Index m = first_row + a_row + i * kStepA, k = k0 + a_k;
      next_a[i] = m < size.rows && k < end ? problem.A(group, m, k) : 0;
    }
#pragma unroll
    for (int i = 0; i < kB; ++i) {
      const Index k = k0 + b_k + i * kStepB;
      next_b[i] = column_is_there && k < end ? problem.B(k, column) : 0;
    }
  };

  const int row = thread / Tile::threads_across * Tile::thread_rows;
  const int across = thread % Tile::threads_across;
  float sums[Tile::thread_rows][Tile::thread_columns] = {};
  fetch(begin);
  for (Index k0 = begin; k0 < end; k0 += kSlice) {
#pragma unroll
    for (int i = 0; i < kA; ++i) a_slice[a_k][a_row + i * kStepA] = next_a[i];
#pragma unroll
    for (int i = 0; i < kB; ++i) b_slice[b_k + i * kStepB][b_column] = next_b[i];
    __syncthreads();
    if (k0 + kSlice < end) fetch(k0 + kSlice);
#pragma unroll
    for (int k = 0; k < kSlice; ++k) {
      float a[Tile::thread_rows], b[Tile::thread_columns];
#pragma unroll
      for (int i = 0; i < Tile::thread_rows; ++i) a[i] = a_slice[k][row + i];
#pragma unroll
      for (int j = 0; j < Tile::thread_columns; ++j) b[j] = b_slice[k][across + j * Tile::threads_across];
#pragma unroll
      for (int i = 0; i < Tile::thread_rows; ++i)
#pragma unroll
        for (int j = 0; j < Tile::thread_columns; ++j) sums[i][j] += a[i] * b[j];
    }
    __syncthreads();
  }

#pragma unroll
  for (int i = 0; i < Tile::thread_rows; ++i)
#pragma unroll
    for (int j = 0; j < Tile::thread_columns; ++j) {
      const Index m = first_row + row + i, n = first_column + across + j * Tile::threads_across;
      if (m < size.rows && n < size.columns) problem.Store(group, m, n, blockIdx.z, sums[i][j]);
    }
}

template <typename Tile>
Index TilesOf(const ProductSize& size) {
  return size.groups * CeilDivide(size.rows, Tile::rows) * CeilDivide(size.columns, Tile::columns);
}

template <typename Tile, typename Problem>
void RunTiles(const Context& context, const Problem& problem, const ProductSize& size, Index pieces) {
  const Index inner = CeilDivide(CeilDivide(size.inner, pieces), kSlice) * kSlice;
  const dim3 blocks(size.groups * CeilDivide(size.columns, Tile::columns), CeilDivide(size.rows, Tile::rows), pieces);
  ProductKernel<Tile><<<blocks, Tile::threads, 0, context.stream()>>>(problem, size, inner);
  Check(cudaGetLastError(), "starting a kernel");
}

using LargeTile = Tile<64, 64, 8, 4>;
using FlatTile = Tile<32, 64, 4, 4>;  // for few rows
using SmallTile = Tile<32, 32, 4, 2>;
using ThinTile = Tile<8, 128, 4, 2>;  // for very few, such as the channels of a small group

// Into how many pieces the sums are split, so that there is work for the whole GPU and no piece is short.
inline Index PiecesFor(const Context& context, const ProductSize& size) {
  constexpr Index kShortest = 8 * kSlice;
  const Index tiles = size.rows > 32  ? TilesOf<LargeTile>(size)
                      : size.rows > 8 ? TilesOf<FlatTile>(size)
                                      : TilesOf<ThinTile>(size);
  const Index wanted = CeilDivide(4 * context.multiprocessors(), tiles);
  return std::max<Index>(1, std::min(wanted, size.inner / kShortest));
}

// With tiles that suit the size. Without pieces small tiles make up for few large ones.
template <typename Problem>
void RunProduct(const Context& context, const Problem& problem, const ProductSize& size, Index pieces) {
  if (size.rows <= 8) return RunTiles<ThinTile>(context, problem, size, pieces);
  const bool few = pieces == 1 && TilesOf<LargeTile>(size) < 2 * static_cast<Index>(context.multiprocessors());
  if (few) return RunTiles<SmallTile>(context, problem, size, pieces);
  if (size.rows <= 32) return RunTiles<FlatTile>(context, problem, size, pieces);
  return RunTiles<LargeTile>(context, problem, size, pieces);
}

}  // namespace downpour::kernels::cuda
