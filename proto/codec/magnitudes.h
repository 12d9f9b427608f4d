// Floats by their magnitude, whose order is that of their bits without the sign.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

namespace downpour {

inline constexpr uint32_t kMagnitudeBits = 0x7fffffff;

inline uint32_t Magnitude(float x) { return std::bit_cast<uint32_t>(x) & kMagnitudeBits; }

bool AnyAtLeast(uint32_t least, std::span<const float> x);

// Calls visit(index, magnitude) for each float of at least that magnitude, from front to back; it may change that
// float.
template <typename Visit>
void ForEachAtLeast(uint32_t least, std::span<const float> x, Visit visit) {
  constexpr size_t kGroup = 32;  // looked at without a branch for each
  for (size_t begin = 0; begin < x.size(); begin += kGroup) {
    const size_t size = std::min(kGroup, x.size() - begin);
    if (!AnyAtLeast(least, x.subspan(begin, size))) continue;
    for (size_t i = begin; i < begin + size; ++i) {
      if (const uint32_t magnitude = Magnitude(x[i]); magnitude >= least) visit(i, magnitude);
    }
  }
}

}  // namespace downpour
