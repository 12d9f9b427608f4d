#include "kernels/cpu/bf16.h"

#include <bit>

#include "kernels/function_clones.h"

namespace downpour::kernels::cpu {

DOWNPOUR_CLONES
void RoundToBf16(const float* from, std::size_t size, std::uint16_t* to) {
  for (std::size_t i = 0; i < size; ++i) {
    const auto bits = std::bit_cast<std::uint32_t>(from[i]);
    const std::uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    const std::uint32_t quiet = bits >> 16 | 0x40;
    to[i] = static_cast<std::uint16_t>((bits & 0x7fffffff) > 0x7f800000 ? quiet : rounded);
  }
}

}  // namespace downpour::kernels::cpu
