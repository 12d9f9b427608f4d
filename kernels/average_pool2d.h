// Two-dimensional average pooling: the sum of each window by the number of its values, zeros of the padding included.
#pragma once

#include "kernels/pool2d_spec.h"
#include "kernels/tensor_view.h"

namespace downpour::kernels {

// Views must have the spec's shapes and one batch size, at most the plan's.
class AveragePool2d {
 public:
  virtual ~AveragePool2d() = default;

  virtual void Forward(ConstTensorView input, TensorView output) = 0;
  virtual void Backward(ConstTensorView output_gradient, TensorView input_gradient) = 0;
};

}  // namespace downpour::kernels
