// Two-dimensional max pooling: the largest value of each window, whose padding counts for nothing. The gradient goes to
// the first of the largest, row by row. A NaN in a window that starts with one stays; elsewhere it may be lost.
#pragma once

#include "kernels/pool2d_spec.h"
#include "kernels/tensor_view.h"

namespace downpour::kernels {

// Views must have the spec's shapes and one batch size, at most the plan's.
class MaxPool2d {
 public:
  virtual ~MaxPool2d() = default;

  virtual void Forward(ConstTensorView input, TensorView output) = 0;

  // input_gradient = d loss / d input, for the maxima of the last Forward, whose batch size it must have.
  virtual void Backward(ConstTensorView output_gradient, TensorView input_gradient) = 0;
};

}  // namespace downpour::kernels
