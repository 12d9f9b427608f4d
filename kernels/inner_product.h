// Fully connected: output[n][o] = bias[o] + sum over i of weights[o][i] * input[n][i], the input taken as
// flat.
#pragma once

#include "kernels/tensor_view.h"

namespace downpour::kernels {

struct InnerProductSpec {
  int inputs = 0;
  int outputs = 0;
};

// Weights are {outputs, inputs}, bias {outputs}. Views must have the spec's sizes and one batch size, at most
// the plan's. No two may overlap.
class InnerProduct {
 public:
  virtual ~InnerProduct() = default;

  virtual void Forward(ConstTensorView input, const float* weights, const float* bias, TensorView output) = 0;

  // input_gradient = d loss / d input.
  virtual void BackwardData(ConstTensorView output_gradient, const float* weights,
                            TensorView input_gradient) = 0;

  // Overwrites the gradients of weights and bias, summed over the batch.
  virtual void BackwardWeights(ConstTensorView input, ConstTensorView output_gradient, float* weight_gradient,
                               float* bias_gradient) = 0;
};

}  // namespace downpour::kernels
