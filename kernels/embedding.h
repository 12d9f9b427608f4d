// A vector of weights for each id: output[n][s] = weights[input[n][s]].
//
// An id is a whole number in [0, vocabulary). For any other value the output is NaN, so that a loss tells of it, and no
// weight has a gradient from it.
#pragma once

#include "kernels/tensor_view.h"

namespace downpour::kernels {

// The most that a float counts one by one.
inline constexpr int kMaxVocabulary = 1 << 24;

struct EmbeddingSpec {
  int steps = 1;
  int vocabulary = 1;  // at most kMaxVocabulary
  int outputs = 1;
};

// Weights are {vocabulary, outputs}; input is {steps} a sample, output {steps, 1, outputs}. Views have one batch size,
// at most the plan's. No two may overlap.
class Embedding {
 public:
  virtual ~Embedding() = default;

  virtual void Forward(ConstTensorView input, const float* weights, TensorView output) = 0;

  // Overwrites the gradient of the weights, of all of them, summed over the batch.
  virtual void BackwardWeights(ConstTensorView input, ConstTensorView output_gradient, float* weight_gradient) = 0;

  // Zero, for a step from one id to the next has no slope.
  virtual void BackwardData(TensorView input_gradient) = 0;
};

}  // namespace downpour::kernels
