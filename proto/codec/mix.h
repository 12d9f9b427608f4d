// Numbers that look drawn, from a place and a seed: the same on every machine.
#pragma once

#include <cstdint>

namespace downpour {

// The finalizer of SplitMix64 (Steele, Lea, Flood 2014).
constexpr uint64_t Mix64(uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
  x = (x ^ x >> 27) * 0x94d049bb133111eb;
  return x ^ x >> 31;
}

}  // namespace downpour
