// Inputs of one shape, put together value by value: their sum, their product, or the largest of them.
#pragma once

#include <span>

#include "kernels/tensor_view.h"

namespace downpour::kernels {

enum class EltwiseOperation { kSum, kProduct, kMax };

// Views must have the plan's shape and one batch size, at most the plan's. Inputs may be the same.
class Eltwise {
 public:
  virtual ~Eltwise() = default;

  virtual void Forward(std::span<const ConstTensorView> inputs, TensorView output) = 0;

  // Of the input at `index`. Where the largest value is that of several inputs, it is the first one's.
  virtual void Backward(std::span<const ConstTensorView> inputs, ConstTensorView output,
                        ConstTensorView output_gradient, std::size_t index, TensorView input_gradient) = 0;
};

}  // namespace downpour::kernels
