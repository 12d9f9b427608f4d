// Floats by their magnitude, whose order is that of their bits without the sign.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/selection.h"

namespace downpour {

inline uint32_t Magnitude(float x) { return std::bit_cast<uint32_t>(x) & kernels::kMagnitudeBits; }

// Calls visit(index, magnitude) for each float of at least that magnitude, from front to back; it may change that
// float.
template <typename Visit>
void ForEachAtLeast(uint32_t least, std::span<const float> x, Visit visit) {
  constexpr size_t kBlock = 1024;  // looked at without a branch for each
  std::array<uint32_t, kBlock + kernels::kSelectionSlack> places;
  std::array<float, kBlock + kernels::kSelectionSlack> values;
  for (size_t begin = 0; begin < x.size(); begin += kBlock) {
    const auto block = x.subspan(begin, std::min(kBlock, x.size() - begin));
    const size_t count = kernels::SelectAtLeast(least, block, static_cast<uint32_t>(begin), places, values);
    for (size_t i = 0; i < count; ++i) visit(size_t{places[i]}, Magnitude(values[i]));
  }
}

}  // namespace downpour
