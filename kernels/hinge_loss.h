// Hinge loss of one class against the others, for targets that are classes.
//
//   margin[n][k] = max(0, 1 - scores[n][k]) for the sample's class k, max(0, 1 + scores[n][k]) for the others
//   loss         = sum over n, k of weight[n] * margin[n][k], or of its square
#pragma once

#include "kernels/loss.h"
#include "kernels/tensor_view.h"

namespace downpour::kernels {

struct HingeLossSpec {
  int classes = 0;
  bool squared = false;
};

// Views are {classes} a sample, at most the plan's batch; the targets are classes in [0, classes).
class HingeLoss {
 public:
  virtual ~HingeLoss() = default;

  virtual LossResult Forward(ConstTensorView scores, const Targets& targets) = 0;

  // score_gradient = scale * d loss / d scores, for the last Forward's scores and targets.
  virtual void Backward(float scale, const Targets& targets, TensorView score_gradient) = 0;
};

}  // namespace downpour::kernels
