// Maxout (Goodfellow et al. 2013): channels are taken `pieces` at a time, and of each such group the largest value is
// left.
//
//   output[c] = max over p in [0, pieces) of input[c * pieces + p]
#pragma once

#include "kernels/tensor_view.h"

namespace downpour::kernels {

struct MaxoutSpec {
  Shape input;
  int pieces = 1;  // divides the channels

  Shape output() const { return {input.channels / pieces, input.height, input.width}; }
};

// Views must have the spec's shapes and one batch size, at most the plan's.
class Maxout {
 public:
  virtual ~Maxout() = default;

  virtual void Forward(ConstTensorView input, TensorView output) = 0;

  // Where several pieces have the largest value, the gradient is the first one's.
  virtual void Backward(ConstTensorView input, ConstTensorView output, ConstTensorView output_gradient,
                        TensorView input_gradient) = 0;
};

}  // namespace downpour::kernels
