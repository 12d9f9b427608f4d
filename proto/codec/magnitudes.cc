#include "proto/codec/magnitudes.h"

#include "kernels/function_clones.h"

namespace downpour {
namespace {

DOWNPOUR_CLONES
bool AnyAtLeastLoop(uint32_t least, const float* x, size_t size) {
  uint32_t found = 0;
  for (size_t i = 0; i < size; ++i) found |= (std::bit_cast<uint32_t>(x[i]) & kMagnitudeBits) >= least ? 1 : 0;
  return found != 0;
}

}  // namespace

bool AnyAtLeast(uint32_t least, std::span<const float> x) { return AnyAtLeastLoop(least, x.data(), x.size()); }

}  // namespace downpour
