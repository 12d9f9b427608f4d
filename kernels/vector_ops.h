// Elementwise loops over contiguous memory, vectorised for the CPU they run on. Any thread may call; memory
// is the caller's. Except where said, spans of one call have the same length. The bits are the same on every
// CPU.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace downpour::kernels {

// y += a * x
void Axpy(float a, std::span<const float> x, std::span<float> y);

// difference = x - y
void Subtract(std::span<const float> x, std::span<const float> y, std::span<float> difference);

// x *= a
void Scale(float a, std::span<float> x);

// The sum of x, in an order that is the same on every CPU.
float Sum(std::span<const float> x);

// The sum of the squares of x, likewise.
double SumOfSquares(std::span<const float> x);

// x = 0
void Zero(std::span<float> x);

// The index of the first NaN or infinity, if there is one.
std::optional<std::size_t> FirstNonFinite(std::span<const float> x);

// Whether x holds neither NaN nor infinity.
inline bool AllFinite(std::span<const float> x) { return !FirstNonFinite(x).has_value(); }

// y = scale * x
void ScaleTo(std::span<const std::uint8_t> x, float scale, std::span<float> y);
void ScaleTo(std::span<const float> x, float scale, std::span<float> y);

// y = scale * (x - mean), element by element
void CenterTo(std::span<const std::uint8_t> x, std::span<const float> mean, float scale, std::span<float> y);
void CenterTo(std::span<const float> x, std::span<const float> mean, float scale, std::span<float> y);

// y = x, rounded to nearest; what is beyond a float's range becomes infinity.
void Convert(std::span<const double> x, std::span<float> y);

}  // namespace downpour::kernels
