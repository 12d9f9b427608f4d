#include "kernels/narrow_floats.h"

#include <bit>
#include <cassert>
#include <cstddef>

#include "kernels/function_clones.h"

namespace downpour::kernels {
namespace {

constexpr std::uint32_t kMagnitude = 0x7fffffff;
constexpr std::uint32_t kInfinity = 0x7f800000;

DOWNPOUR_CLONES
void ToBf16Loop(const float* x, std::uint16_t* y, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) {
    const auto bits = std::bit_cast<std::uint32_t>(x[i]);
    const std::uint32_t magnitude = bits & kMagnitude;
    const std::uint32_t rounded = (magnitude + 0x7fff + (magnitude >> 16 & 1)) >> 16;
    const std::uint32_t finite = rounded < 0x7f80 ? rounded : 0x7f7f;
    const std::uint32_t special = magnitude > kInfinity ? magnitude >> 16 | 0x40 : 0x7f80;
    y[i] = static_cast<std::uint16_t>((bits >> 16 & 0x8000) | (magnitude < kInfinity ? finite : special));
  }
}

DOWNPOUR_CLONES
void FromBf16Loop(const std::uint16_t* x, float* y, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) y[i] = std::bit_cast<float>(std::uint32_t{x[i]} << 16);
}

// A binary16's smallest normal number is 2^-14; below it the distance between two is 2^-24, which is that of floats
// between 0.5 and 1: adding 0.5 rounds to it.
constexpr std::uint32_t kSmallestNormal = 0x38800000;
constexpr std::uint32_t kLargest = 0x477fe000;  // 65504

DOWNPOUR_CLONES
void ToFp16Loop(const float* x, std::uint16_t* y, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) {
    const auto bits = std::bit_cast<std::uint32_t>(x[i]);
    const std::uint32_t magnitude = bits & kMagnitude;
    const std::uint32_t bounded = magnitude < kLargest ? magnitude : kLargest;
    const std::uint32_t normal = (bounded - (112u << 23) + 0xfff + (bounded >> 13 & 1)) >> 13;
    const std::uint32_t small = std::bit_cast<std::uint32_t>(std::bit_cast<float>(bounded) + 0.5f) - 0x3f000000;
    const std::uint32_t finite = bounded < kSmallestNormal ? small : normal;
    const std::uint32_t special = magnitude > kInfinity ? 0x7e00 : 0x7c00;
    y[i] = static_cast<std::uint16_t>((bits >> 16 & 0x8000) | (magnitude < kInfinity ? finite : special));
  }
}

DOWNPOUR_CLONES
void FromFp16Loop(const std::uint16_t* x, float* y, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) {
    const std::uint32_t magnitude = x[i] & 0x7fff;
    const std::uint32_t normal = (magnitude << 13) + (112u << 23);
    // By way of an integer: a float below its own smallest normal number would be slow.
    const std::uint32_t small =
        std::bit_cast<std::uint32_t>(static_cast<float>(static_cast<std::int32_t>(magnitude)) * 0x1p-24f);
    const std::uint32_t finite = magnitude < 0x400 ? small : normal;
    const std::uint32_t special = kInfinity | magnitude << 13;
    const std::uint32_t sign = std::uint32_t{x[i]} << 16 & 0x80000000;
    y[i] = std::bit_cast<float>(sign | (magnitude < 0x7c00 ? finite : special));
  }
}

}  // namespace

void ToBf16(std::span<const float> x, std::span<std::uint16_t> y) {
  assert(x.size() == y.size());
  ToBf16Loop(x.data(), y.data(), x.size());
}

void FromBf16(std::span<const std::uint16_t> x, std::span<float> y) {
  assert(x.size() == y.size());
  FromBf16Loop(x.data(), y.data(), x.size());
}

void ToFp16(std::span<const float> x, std::span<std::uint16_t> y) {
  assert(x.size() == y.size());
  ToFp16Loop(x.data(), y.data(), x.size());
}

void FromFp16(std::span<const std::uint16_t> x, std::span<float> y) {
  assert(x.size() == y.size());
  FromFp16Loop(x.data(), y.data(), x.size());
}

}  // namespace downpour::kernels
