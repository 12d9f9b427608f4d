// e^x, and what is made of it, in a form that the compiler vectorises.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

namespace downpour::kernels::cpu {

// To 2 units in the last place; 0 below -87, about 1.7e38 above 88; NaN stays. x = n ln 2 + r, and e^r is a polynomial in r
// (its Taylor series, up to the sixth power, with |r| <= ln 2 / 2).
[[gnu::always_inline]] inline float Exponential(float x) {
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: what is added to it is rounded to a whole number
  const float bounded = x < -87.0f ? -87.0f : x > 88.0f ? 88.0f : x;
  const float shifted = bounded * 1.44269504f + kRound;
  const float n = shifted - kRound;
  const float r = (bounded - n * 0.693359375f) + n * 2.12194440e-4f;  // ln 2 in two parts
  float power = 1.0f / 720;
  power = power * r + 1.0f / 120;
  power = power * r + 1.0f / 24;
  power = power * r + 1.0f / 6;
  power = power * r + 0.5f;
  power = power * r + 1.0f;
  power = power * r + 1.0f;
  const auto exponent = (std::bit_cast<std::int32_t>(shifted) - std::bit_cast<std::int32_t>(kRound) + 127) << 23;
  const float value = power * std::bit_cast<float>(exponent);
  return x < -87.0f ? 0.0f : value;
}

[[gnu::always_inline]] inline float Sigmoid(float x) { return 1.0f / (1.0f + Exponential(-x)); }

// To 1.2e-7.
[[gnu::always_inline]] inline float Tanh(float x) { return 2.0f * Sigmoid(2.0f * x) - 1.0f; }

}  // namespace downpour::kernels::cpu
