// Numbers that look drawn, from a place and a seed: SplitMix64 (Steele, Lea, Flood 2014). The same on every machine.
#pragma once

#include <cstdint>

namespace downpour::kernels {

inline constexpr std::uint64_t kSplitMix64Step = 0x9e3779b97f4a7c15;

// The last stage: each number has another one, and 0 itself.
constexpr std::uint64_t SplitMix64Finalize(std::uint64_t x) {
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
  x = (x ^ x >> 27) * 0x94d049bb133111eb;
  return x ^ x >> 31;
}

// What a counter that stood at `x` gives next.
constexpr std::uint64_t SplitMix64(std::uint64_t x) { return SplitMix64Finalize(x + kSplitMix64Step); }

}  // namespace downpour::kernels
