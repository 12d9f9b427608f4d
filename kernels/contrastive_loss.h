// Contrastive loss (Hadsell, Chopra and LeCun 2006): pulls the values of alike samples together, and pushes those of
// others apart until they are a margin away from each other.
//
//   distance[n] = |first[n] - second[n]|, the Euclidean norm
//   loss        = sum over n of weight[n] / 2 * far[n]^2, where far is the distance for pairs of class 1, which are
//                 alike, and max(0, margin - distance) for those of class 0
//
// Where a distance is 0, the gradient is taken as 0.
#pragma once

#include "kernels/loss.h"

namespace downpour::kernels {

struct ContrastiveLossSpec {
  Shape shape;
  float margin = 1;  // above 0
};

// Views have the spec's shape and one batch size, at most the plan's. Targets are classes, 0 or 1. A pair is correct
// where its own class costs less than the other would: class 1 says that it is closer than half the margin.
class ContrastiveLoss {
 public:
  virtual ~ContrastiveLoss() = default;

  virtual void Forward(ConstTensorView first, ConstTensorView second, const Targets& targets) = 0;

  // Of the last Forward, for which it waits.
  virtual LossResult Result() = 0;

  // The gradients times `scale`, as LossOp::Backward; either may be empty, which leaves it out.
  virtual void Backward(float scale, const Targets& targets, TensorView first_gradient, TensorView second_gradient) = 0;
};

}  // namespace downpour::kernels
