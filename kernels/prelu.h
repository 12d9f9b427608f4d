// Leaky ReLU whose slope is learnt, one for each channel (He et al. 2015): x where x > 0, else slopes[channel] * x.
#pragma once

#include "kernels/tensor_view.h"

namespace downpour::kernels {

// Slopes are as many as channels. Views must have the plan's shape and one batch size, at most the plan's.
class Prelu {
 public:
  virtual ~Prelu() = default;

  virtual void Forward(ConstTensorView input, const float* slopes, TensorView output) = 0;

  virtual void BackwardData(ConstTensorView input, const float* slopes, ConstTensorView output_gradient,
                            TensorView input_gradient) = 0;

  // Overwrites the gradient of the slopes, summed over the batch.
  virtual void BackwardSlopes(ConstTensorView input, ConstTensorView output_gradient, float* slope_gradient) = 0;
};

}  // namespace downpour::kernels
