#include "kernels/narrow_floats.h"

#include <bit>
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <vector>

namespace downpour::kernels {
namespace {

using Bits = std::vector<std::uint16_t>;

Bits Bf16(const std::vector<float>& x) {
  Bits y(x.size());
  ToBf16(x, y);
  return y;
}

Bits Fp16(const std::vector<float>& x) {
  Bits y(x.size());
  ToFp16(x, y);
  return y;
}

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kLargest = std::numeric_limits<float>::max();

TEST_CASE("bfloat16 is the nearest, of two the even one, and finite where the float is") {
  CHECK(Bf16({1.0f, -2.0f, 0.0f, -0.0f}) == Bits{0x3f80, 0xc000, 0x0000, 0x8000});
  CHECK(Bf16({0x1.01p0f, 0x1.03p0f, 0x1.0101p0f}) == Bits{0x3f80, 0x3f82, 0x3f81});
  CHECK(Bf16({kLargest, -kLargest, kInfinity, -kInfinity}) == Bits{0x7f7f, 0xff7f, 0x7f80, 0xff80});
  std::vector<float> nan(1);
  FromBf16(Bf16({std::nanf("")}), nan);
  CHECK(std::isnan(nan[0]));
}

TEST_CASE("binary16 is the nearest, of two the even one, and finite where the float is") {
  CHECK(Fp16({1.0f, -2.0f, 0.0f, -0.0f, 65504.0f}) == Bits{0x3c00, 0xc000, 0x0000, 0x8000, 0x7bff});
  CHECK(Fp16({0x1.002p0f, 0x1.006p0f, 0x1.0021p0f}) == Bits{0x3c00, 0x3c02, 0x3c01});
  // Below the smallest normal number, the smallest of all, half of it and a little more.
  CHECK(Fp16({0x1p-15f, 0x1p-24f, 0x1p-25f, 0x1.1p-25f, 0x1.ff8p-15f}) == Bits{0x0200, 0x0001, 0x0000, 0x0001, 0x03ff});
  CHECK(Fp16({65520.0f, -kLargest, kInfinity, -kInfinity}) == Bits{0x7bff, 0xfbff, 0x7c00, 0xfc00});
}

TEST_CASE("all numbers of 16 bits come back as they were") {
  Bits all(1 << 16);
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<std::uint16_t>(i);
  std::vector<float> floats(all.size());
  Bits back(all.size());
  const auto check = [&](std::uint16_t infinity) {
    for (size_t i = 0; i < all.size(); ++i) {
      if ((i & 0x7fff) > infinity) {
        CHECK(std::isnan(floats[i]));
      } else if (back[i] != all[i]) {
        FAIL(i << " became " << floats[i] << " and then " << back[i]);
      }
    }
  };
  FromBf16(all, floats);
  ToBf16(floats, back);
  check(0x7f80);
  FromFp16(all, floats);
  CHECK(floats[0x3555] == 0x1.554p-2f);
  CHECK(floats[0x0001] == 0x1p-24f);
  ToFp16(floats, back);
  check(0x7c00);
}

}  // namespace
}  // namespace downpour::kernels
