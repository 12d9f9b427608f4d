#include "kernels/vector_ops.h"

#include <algorithm>
#include <bit>
#include <cassert>

#include "kernels/function_clones.h"

namespace downpour::kernels {
namespace {

// A block whose exponent fields are looked at without a branch for each value.
constexpr std::size_t kFiniteBlock = 1024;
constexpr std::uint32_t kExponentMask = 0x7f800000u;

DOWNPOUR_CLONES
bool BlockIsFinite(const float* x, std::size_t size) {
  std::uint32_t worst = 0;
  for (std::size_t i = 0; i < size; ++i) {
    const std::uint32_t exponent = std::bit_cast<std::uint32_t>(x[i]) & kExponentMask;
    worst = exponent > worst ? exponent : worst;
  }
  return worst != kExponentMask;
}

DOWNPOUR_CLONES
void AxpyLoop(float a, const float* x, float* y, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) y[i] += a * x[i];
}

DOWNPOUR_CLONES
void SubtractLoop(const float* x, const float* y, float* difference, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) difference[i] = x[i] - y[i];
}

DOWNPOUR_CLONES
void ScaleLoop(float a, float* x, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) x[i] *= a;
}

DOWNPOUR_CLONES
void ScaleBytesLoop(const std::uint8_t* x, float scale, float* y, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) y[i] = scale * static_cast<float>(x[i]);
}

DOWNPOUR_CLONES
void ScaleToLoop(const float* x, float scale, float* y, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) y[i] = scale * x[i];
}

DOWNPOUR_CLONES
void CenterBytesLoop(const std::uint8_t* x, const float* mean, float scale, float* y, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) y[i] = scale * (static_cast<float>(x[i]) - mean[i]);
}

DOWNPOUR_CLONES
void CenterToLoop(const float* x, const float* mean, float scale, float* y, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) y[i] = scale * (x[i] - mean[i]);
}

DOWNPOUR_CLONES
void ConvertLoop(const double* x, float* y, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) y[i] = static_cast<float>(x[i]);
}

// Lanes are summed side by side, then added up: the order does not depend on the width of the CPU's vectors.
constexpr std::size_t kLanes = 16;

DOWNPOUR_CLONES
float SumLoop(const float* x, std::size_t size) {
  float lanes[kLanes] = {};
  std::size_t i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) lanes[lane] += x[i + lane];
  }
  for (std::size_t lane = 0; i < size; ++i, ++lane) lanes[lane] += x[i];
  for (std::size_t width = kLanes / 2; width > 0; width /= 2) {
    for (std::size_t lane = 0; lane < width; ++lane) lanes[lane] += lanes[lane + width];
  }
  return lanes[0];
}

DOWNPOUR_CLONES
double SumOfSquaresLoop(const float* x, std::size_t size) {
  double lanes[kLanes] = {};
  std::size_t i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      const double value = x[i + lane];
      lanes[lane] += value * value;
    }
  }
  for (std::size_t lane = 0; i < size; ++i, ++lane) lanes[lane] += double{x[i]} * x[i];
  for (std::size_t width = kLanes / 2; width > 0; width /= 2) {
    for (std::size_t lane = 0; lane < width; ++lane) lanes[lane] += lanes[lane + width];
  }
  return lanes[0];
}

}  // namespace

void Axpy(float a, std::span<const float> x, std::span<float> y) {
  assert(x.size() == y.size());
  AxpyLoop(a, x.data(), y.data(), x.size());
}

void Subtract(std::span<const float> x, std::span<const float> y, std::span<float> difference) {
  assert(x.size() == y.size() && x.size() == difference.size());
  SubtractLoop(x.data(), y.data(), difference.data(), x.size());
}

void Scale(float a, std::span<float> x) { ScaleLoop(a, x.data(), x.size()); }

float Sum(std::span<const float> x) { return SumLoop(x.data(), x.size()); }

double SumOfSquares(std::span<const float> x) { return SumOfSquaresLoop(x.data(), x.size()); }

void Zero(std::span<float> x) { std::fill(x.begin(), x.end(), 0.0f); }

std::optional<std::size_t> FirstNonFinite(std::span<const float> x) {
  for (std::size_t begin = 0; begin < x.size(); begin += kFiniteBlock) {
    const std::size_t size = std::min(kFiniteBlock, x.size() - begin);
    if (BlockIsFinite(x.data() + begin, size)) continue;
    for (std::size_t i = begin;; ++i) {
      if ((std::bit_cast<std::uint32_t>(x[i]) & kExponentMask) == kExponentMask) return i;
    }
  }
  return std::nullopt;
}

void ScaleTo(std::span<const std::uint8_t> x, float scale, std::span<float> y) {
  assert(x.size() == y.size());
  ScaleBytesLoop(x.data(), scale, y.data(), x.size());
}

void ScaleTo(std::span<const float> x, float scale, std::span<float> y) {
  assert(x.size() == y.size());
  ScaleToLoop(x.data(), scale, y.data(), x.size());
}

void CenterTo(std::span<const std::uint8_t> x, std::span<const float> mean, float scale, std::span<float> y) {
  assert(x.size() == y.size() && x.size() == mean.size());
  CenterBytesLoop(x.data(), mean.data(), scale, y.data(), x.size());
}

void CenterTo(std::span<const float> x, std::span<const float> mean, float scale, std::span<float> y) {
  assert(x.size() == y.size() && x.size() == mean.size());
  CenterToLoop(x.data(), mean.data(), scale, y.data(), x.size());
}

void Convert(std::span<const double> x, std::span<float> y) {
  assert(x.size() == y.size());
  ConvertLoop(x.data(), y.data(), x.size());
}

}  // namespace downpour::kernels
