// The few floats of a vector that matter: where they are, and what. Any thread may call; memory is the caller's. The
// bits are the same on every CPU.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace downpour::kernels {

// Floats without their sign: the order of magnitudes is that of these bits.
inline constexpr std::uint32_t kMagnitudeBits = 0x7fffffff;

inline constexpr std::size_t kMaskBits = 64;

// Bit i % 64 of word i / 64 says whether float i is of at least that magnitude; there is a word for each 64 floats
// begun.
void MasksAtLeast(std::uint32_t magnitude, std::span<const float> x, std::span<std::uint64_t> masks);

// What selections may write beyond what they found.
inline constexpr std::size_t kSelectionSlack = 16;

// Writes where the floats of at least that magnitude are, float 0 being at `first`, and what they are, in order; says
// how many. `places` and `values` have room for x.size() + kSelectionSlack.
std::size_t SelectAtLeast(std::uint32_t magnitude, std::span<const float> x, std::uint32_t first,
                          std::span<std::uint32_t> places, std::span<float> values);

// to[i] = from[places[i]]
void Gather(std::span<const float> from, std::span<const std::uint32_t> places, std::span<float> to);

// to[places[i]] = from[i]; no place comes twice.
void Scatter(std::span<const float> from, std::span<const std::uint32_t> places, std::span<float> to);

}  // namespace downpour::kernels
