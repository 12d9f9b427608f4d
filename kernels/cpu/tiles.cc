#include "kernels/cpu/tiles.h"

#if defined(__x86_64__)

#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>

#include "kernels/avx512.h"

namespace downpour::kernels::cpu {
namespace {

// As LDTILECFG reads it (Intel's manual, volume 2).
struct [[gnu::packed]] TileShapes {
  std::uint8_t palette = 1;
  std::uint8_t start_row = 0;
  std::uint8_t reserved[14] = {};
  std::uint16_t row_bytes[16] = {};
  std::uint8_t rows[16] = {};
};
static_assert(sizeof(TileShapes) == 64);

bool AskForTiles() {
  constexpr long kRequest = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr long kTileData = 18;     // XFEATURE_XTILEDATA
  return __builtin_cpu_supports("amx-bf16") && __builtin_cpu_supports("avx512bf16") &&
         __builtin_cpu_supports("avx512bw") && syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
}

DOWNPOUR_AMX void Load(const TileShapes& shapes) {
  DOWNPOUR_TILES_READ_MEMORY;
  _tile_loadconfig(&shapes);
}
DOWNPOUR_AMX void Release() { _tile_release(); }

}  // namespace

bool HasTiles() {
  static const bool has = AskForTiles();
  return has;
}

TileScope::TileScope(int pairs) {
  TileShapes shapes;
  for (int tile = 0; tile < 8; ++tile) {
    const bool left = tile == 4 || tile == 5, right = tile > 5;
    shapes.rows[tile] = static_cast<std::uint8_t>(right ? pairs : kTileRows);
    shapes.row_bytes[tile] = static_cast<std::uint16_t>(left ? 4 * pairs : 64);
  }
  Load(shapes);
}

TileScope::~TileScope() { Release(); }

}  // namespace downpour::kernels::cpu

#else

namespace downpour::kernels::cpu {

bool HasTiles() { return false; }
TileScope::TileScope(int) {}
TileScope::~TileScope() {}

}  // namespace downpour::kernels::cpu

#endif
