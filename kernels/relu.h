// Rectified linear unit: output = max(input, 0); a NaN stays. Its derivative at 0 is 0.
#pragma once

#include "kernels/tensor_view.h"

namespace downpour::kernels {

// Views must have the plan's shape and one batch size, at most the plan's. The gradient of the input may lie where
// that of the output lies.
class Relu {
 public:
  virtual ~Relu() = default;

  virtual void Forward(ConstTensorView input, TensorView output) = 0;

  // input_gradient = output_gradient where the output is above 0, else 0.
  virtual void Backward(ConstTensorView output, ConstTensorView output_gradient,
                        TensorView input_gradient) = 0;
};

}  // namespace downpour::kernels
