// Softmax with cross-entropy, for labels that are classes.
//
//   probability[n][k] = exp(scores[n][k]) / sum over j of exp(scores[n][j])
//   loss              = - sum over n of log(probability[n][label[n]])
#pragma once

#include <cstdint>
#include <span>

#include "kernels/tensor_view.h"

namespace downpour::kernels {

struct SoftmaxResult {
  double loss_sum = 0;        // over the batch, in nats; infinite or NaN where the scores are
  std::uint64_t correct = 0;  // samples whose label has the highest score (the first of equals)
};

// Views are {classes} a sample, at most the plan's batch; labels lie in [0, classes).
class SoftmaxLoss {
 public:
  virtual ~SoftmaxLoss() = default;

  virtual SoftmaxResult Forward(ConstTensorView scores, std::span<const std::int32_t> labels) = 0;

  // score_gradient = scale * d loss / d scores, for the last Forward's scores and labels; a scale of 1 /
  // batch gives the gradient of the mean loss.
  virtual void Backward(float scale, std::span<const std::int32_t> labels, TensorView score_gradient) = 0;
};

}  // namespace downpour::kernels
