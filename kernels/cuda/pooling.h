// Which values a pooling window has, and which windows a value is in.
#pragma once

#include "kernels/cuda/fast_divisor.h"
#include "kernels/cuda/launch.h"
#include "kernels/pool2d_spec.h"

namespace downpour::kernels::cuda {

// One of a tensor's values: its channel of its sample, counted over all, its row and its column.
struct Place {
  Index channel;
  int row;
  int column;
};

// Finds places in a tensor of a fixed height and width.
class Places {
 public:
  explicit Places(const Shape& shape) : plane_(shape.height * shape.width), width_(shape.width) {}

  __device__ Place At(Index i) const {
    const Index channel = plane_.Divide(i);
    const Index in_plane = i - channel * plane_.divisor();
    const Index row = width_.Divide(in_plane);
    return {channel, static_cast<int>(row), static_cast<int>(in_plane - row * width_.divisor())};
  }

 private:
  FastDivisor plane_;
  FastDivisor width_;
};

// The windows that have the input's row or column `at`: from first to last, exclusive, of `count`.
struct Windows {
  int first;
  int last;
};

__device__ inline Windows WindowsOf(const Pool2dSpec& spec, const FastDivisor& stride, int at, int count) {
  if (spec.global) return {0, 1};
  const int padded = at + spec.pad;
  const int first = padded < spec.kernel ? 0 : stride.Divide(padded - spec.kernel) + 1;
  return {first, min(static_cast<int>(stride.Divide(padded)) + 1, count)};
}

}  // namespace downpour::kernels::cuda
