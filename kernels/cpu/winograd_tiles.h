// Winograd's transforms of tiles for windows of 3 x 3: F(4 x 4, 3 x 3) of Lavin and Gray, "Fast Algorithms for
// Convolutional Neural Networks", CVPR 2016, with the points 0, 1, -1, 2, -2 and infinity. 36 products make 16 values
// of an output instead of 144.
//
// Each works on 16 channels at once, a lane each; values of a tile are vectors. What is transformed has 6 x 6 values,
// each `plane` floats behind the one before. For CPUs with AVX-512; all vectors are aligned.
#pragma once

#include <cstddef>

namespace downpour::kernels::cpu {

constexpr int kTileOutputs = 4;                         // a side
constexpr int kTileInputs = 6;                          // a side
constexpr int kTileValues = kTileInputs * kTileInputs;  // transformed

// Of 6 x 6 values of an input, rows `row` floats apart.
void TransformInput(const float* from, std::size_t row, float* to, std::size_t plane);

// Of a window of 3 x 3, its nine vectors behind each other; `turned` by half a turn.
void TransformWindow(const float* from, bool turned, float* to, std::size_t plane);

// From sums of products of transformed inputs and windows to 4 x 4 values of an output.
void TransformOutput(const float* from, std::size_t plane, float* to, std::size_t row);

// Of 4 x 4 values of an output's gradient.
void TransformGradient(const float* from, std::size_t row, float* to, std::size_t plane);

// From sums of products of transformed inputs and gradients to a window's gradient, nine vectors.
void TransformWindowGradient(const float* from, std::size_t plane, float* to);

}  // namespace downpour::kernels::cpu
