// Floats of 16 bits. Loops over contiguous memory, vectorised for the CPU they run on, with the same bits on every CPU.
// Any thread may call; spans of one call have the same length.
#pragma once

#include <cstdint>
#include <span>

namespace downpour::kernels {

// Numbers of the upper half of a float's bits (bfloat16): the nearest one, of two the even one. What is finite stays
// so: beyond the largest it is the largest.
void ToBf16(std::span<const float> x, std::span<std::uint16_t> y);
void FromBf16(std::span<const std::uint16_t> x, std::span<float> y);

// IEEE 754 binary16, likewise.
void ToFp16(std::span<const float> x, std::span<std::uint16_t> y);
void FromFp16(std::span<const std::uint16_t> x, std::span<float> y);

}  // namespace downpour::kernels
