// Inputs of one height and width, whose channels follow each other in the output.
#pragma once

#include <span>

#include "kernels/tensor_view.h"

namespace downpour::kernels {

// Views must have the plan's shapes and one batch size, at most the plan's.
class Concat {
 public:
  virtual ~Concat() = default;

  virtual void Forward(std::span<const ConstTensorView> inputs, TensorView output) = 0;

  // Of the input whose channels begin at `first_channel`.
  virtual void Backward(ConstTensorView output_gradient, int first_channel, TensorView input_gradient) = 0;
};

}  // namespace downpour::kernels
