// Layer normalisation (Ba et al. 2016): values of one sample to mean 0 and variance 1, then scaled and shifted.
//
//   output[i] = weight[i] * (input[i] - mean) / sqrt(variance + epsilon) + bias[i]
//
// `length` values that follow each other are normalised together: all of a sample, or a row of it, such as one step of
// a sequence. i is a value's place among them.
#pragma once

#include "kernels/tensor_view.h"

namespace downpour::kernels {

struct LayerNormSpec {
  Shape shape;
  std::size_t length = 1;  // divides the shape's size
  float epsilon = 1e-5f;
};

// Weight and bias have `length` values. Views must have the spec's shape and one batch size, at most the plan's.
class LayerNorm {
 public:
  virtual ~LayerNorm() = default;

  virtual void Forward(ConstTensorView input, const float* weight, const float* bias, TensorView output) = 0;

  // What follows belongs to the last Forward, whose input it must be given.

  // Overwrites the gradients of weight and bias, summed over the batch.
  virtual void BackwardWeights(ConstTensorView input, ConstTensorView output_gradient, float* weight_gradient,
                               float* bias_gradient) = 0;

  // input_gradient = d loss / d input.
  virtual void BackwardData(ConstTensorView input, const float* weight, ConstTensorView output_gradient,
                            TensorView input_gradient) = 0;
};

}  // namespace downpour::kernels
