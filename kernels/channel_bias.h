// A number for each channel, which is added to all of the channel's values.
#pragma once

#include "kernels/tensor_view.h"

namespace downpour::kernels {

// Biases are as many as channels. Views must have the plan's shape and a batch size of at most the plan's.
class ChannelBias {
 public:
  virtual ~ChannelBias() = default;

  // values += bias
  virtual void Add(const float* bias, TensorView values) = 0;

  // Overwrites the gradient of the biases, summed over the batch.
  virtual void Backward(ConstTensorView output_gradient, float* bias_gradient) = 0;
};

}  // namespace downpour::kernels
