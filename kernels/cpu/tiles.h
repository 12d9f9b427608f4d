// The CPU's matrix unit (Intel AMX): products of tiles of bf16, summed up in float32.
//
// Tiles 0 to 3 are sums, of 16 rows and columns; 4 and 5 left factors, of 16 rows and as many pairs as a scope says; 6
// and 7 right ones, of as many rows and 16 columns of pairs. A pair is two neighbours in the direction that is summed.
#pragma once

#include <cstddef>

#if defined(__x86_64__)

// Before the definition of a function that uses tiles, and of what it calls with vectors.
#define DOWNPOUR_AMX [[gnu::target("amx-tile,amx-bf16,avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]]

// First in such a function: GCC's intrinsics do not say that they read memory, and stores before them could be put off.
#define DOWNPOUR_TILES_READ_MEMORY asm volatile("" : : : "memory")

#endif

namespace downpour::kernels::cpu {

constexpr int kTileRows = 16;
constexpr int kTilePairs = 16;                                  // at most
constexpr std::size_t kTileFloats = kTileRows * kTileRows;      // of a sum
constexpr std::size_t kTileHalves = kTileRows * 2 * kTilePairs;  // of a factor

// Whether CPU and kernel have the unit. The first call asks the kernel for its use.
bool HasTiles();

// While it lives, the calling thread may use tiles. Only where HasTiles; `pairs` is from 1 to kTilePairs.
class TileScope {
 public:
  explicit TileScope(int pairs = kTilePairs);
  ~TileScope();

  TileScope(const TileScope&) = delete;
  TileScope& operator=(const TileScope&) = delete;
};

}  // namespace downpour::kernels::cpu
