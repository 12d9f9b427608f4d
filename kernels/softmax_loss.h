// Softmax with cross-entropy, for targets that are classes.
//
//   probability[n][k] = exp(scores[n][k]) / sum over j of exp(scores[n][j])
//   loss              = - sum over n of weight[n] * log(probability[n][class[n]])      in nats
#pragma once

#include "kernels/loss.h"
#include "kernels/tensor_view.h"

namespace downpour::kernels {

// Views are {classes} a sample, at most the plan's batch; the targets are classes in [0, classes).
class SoftmaxLoss {
 public:
  virtual ~SoftmaxLoss() = default;

  virtual LossResult Forward(ConstTensorView scores, const Targets& targets) = 0;

  // score_gradient = scale * d loss / d scores, for the last Forward's scores and targets; a scale of 1 /
  // batch gives the gradient of the mean loss.
  virtual void Backward(float scale, const Targets& targets, TensorView score_gradient) = 0;
};

}  // namespace downpour::kernels
