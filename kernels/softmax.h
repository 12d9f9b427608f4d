// Probabilities from scores: over the channels, at each place of its own.
//
//   output[c] = e^input[c] / sum over k of e^input[k]
#pragma once

#include "kernels/tensor_view.h"

namespace downpour::kernels {

// Views must have the plan's shape and one batch size, at most the plan's.
class Softmax {
 public:
  virtual ~Softmax() = default;

  virtual void Forward(ConstTensorView input, TensorView output) = 0;

  // input_gradient[c] = output[c] * (output_gradient[c] - sum over k of output_gradient[k] * output[k])
  virtual void Backward(ConstTensorView output, ConstTensorView output_gradient, TensorView input_gradient) = 0;
};

}  // namespace downpour::kernels
