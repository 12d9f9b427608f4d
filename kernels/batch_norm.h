// Batch normalisation (Ioffe and Szegedy 2015): each channel to mean 0 and variance 1, then scaled and shifted.
//
//   output = weight[c] * (input - mean[c]) / sqrt(variance[c] + epsilon) + bias[c]
//
// While training, mean and variance are those of the batch, over samples, rows and columns; elsewhere running averages.
#pragma once

#include "kernels/tensor_view.h"

namespace downpour::kernels {

struct BatchNormSpec {
  Shape shape;
  float epsilon = 1e-5f;
  // The share of the running averages that a step keeps.
  float keep = 0.9f;
};

// Weight, bias, mean and variance have one value a channel. Views must have the spec's shape and one batch size, at
// most the plan's.
class BatchNorm {
 public:
  virtual ~BatchNorm() = default;

  virtual void ForwardInTraining(ConstTensorView input, const float* weight, const float* bias, TensorView output) = 0;

  virtual void Forward(ConstTensorView input, const float* weight, const float* bias, const float* mean,
                       const float* variance, TensorView output) = 0;

  // What follows belongs to the last ForwardInTraining, whose input it must be given.

  // Overwrites the gradients of weight and bias, summed over the batch.
  virtual void BackwardWeights(ConstTensorView input, ConstTensorView output_gradient, float* weight_gradient,
                               float* bias_gradient) = 0;

  // input_gradient = d loss / d input. After BackwardWeights, of the same output_gradient.
  virtual void BackwardData(ConstTensorView input, const float* weight, ConstTensorView output_gradient,
                            TensorView input_gradient) = 0;

  // What is to be taken from the running averages, so that they become keep times themselves and the rest the batch's:
  // (1 - keep) * (average - the batch's). The batch's variance is the unbiased one where it has more than one value.
  virtual void AverageGradients(const float* mean, const float* variance, float* mean_gradient,
                                float* variance_gradient) = 0;
};

}  // namespace downpour::kernels
