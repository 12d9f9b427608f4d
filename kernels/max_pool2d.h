// Two-dimensional max pooling, square window, no padding.
//
//   output[n][c][y][x] = max over i, j of input[n][c][y * stride + i][x * stride + j]
//
// Output side: (side - kernel) / stride + 1, rounded down; the kernel must not exceed the side. The gradient
// goes to the first of the largest, row by row. A NaN in a window that starts with one stays; elsewhere it
// may be lost.
#pragma once

#include "kernels/tensor_view.h"

namespace downpour::kernels {

struct MaxPool2dSpec {
  Shape input;
  int kernel = 0;
  int stride = 1;

  Shape output() const {
    return {input.channels, (input.height - kernel) / stride + 1, (input.width - kernel) / stride + 1};
  }
};

// Views must have the spec's shapes and one batch size, at most the plan's.
class MaxPool2d {
 public:
  virtual ~MaxPool2d() = default;

  virtual void Forward(ConstTensorView input, TensorView output) = 0;

  // input_gradient = d loss / d input, for the maxima of the last Forward, whose batch size it must have.
  virtual void Backward(ConstTensorView output_gradient, TensorView input_gradient) = 0;
};

}  // namespace downpour::kernels
