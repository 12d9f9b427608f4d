// Numbers of the upper half of a float's bits.
#pragma once

#include <cstddef>
#include <cstdint>

namespace downpour::kernels::cpu {

// The nearest ones, of two the even one; NaN stays NaN.
void RoundToBf16(const float* from, std::size_t size, std::uint16_t* to);

}  // namespace downpour::kernels::cpu
