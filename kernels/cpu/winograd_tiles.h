// Winograd's transforms of tiles of 6 x 6 inputs, for windows of 3 x 3 or 5 x 5: F(4 x 4, 3 x 3) and F(2 x 2, 5 x 5) of
// Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016, with the points 0, 1, -1, 2, -2 and
// infinity. 36 products make a tile of outputs instead of 144 or 100.
//
// Each works on 16 channels at once, a lane each; values are vectors. What is transformed has 6 x 6 of them, each `plane`
// floats behind the one before. For CPUs with AVX-512; all vectors are aligned.
#pragma once

#include <cstddef>

namespace downpour::kernels::cpu {

constexpr int kTileInputs = 6;                          // a side
constexpr int kTileValues = kTileInputs * kTileInputs;  // transformed

struct WinogradTransforms {
  int outputs;  // a side of a tile

  // Of a window, whose vectors lie behind each other; `turned` by half a turn.
  void (*window)(const float* from, bool turned, float* to, std::size_t plane);

  // From sums of products of transformed inputs and windows to a tile of outputs, rows `row` floats apart.
  void (*output)(const float* from, std::size_t plane, float* to, std::size_t row);

  // Of a tile of an output's gradient, rows `row` floats apart.
  void (*gradient)(const float* from, std::size_t row, float* to, std::size_t plane);

  // From sums of products of transformed inputs and gradients to a window's gradient, its vectors behind each other.
  void (*window_gradient)(const float* from, std::size_t plane, float* to);
};

// `kernel` is 3 or 5.
const WinogradTransforms& TransformsOf(int kernel);

// Of a tile's inputs, for windows of either size; rows are `row` floats apart.
void TransformInput(const float* from, std::size_t row, float* to, std::size_t plane);

}  // namespace downpour::kernels::cpu
