// Half the squared distance, for targets that are numbers.
//
//   loss = sum over n of weight[n] * (values[n] - number[n])^2 / 2
#pragma once

#include "kernels/loss.h"
#include "kernels/tensor_view.h"

namespace downpour::kernels {

// Views are {1} a sample, at most the plan's batch; the targets are numbers.
class EuclideanLoss {
 public:
  virtual ~EuclideanLoss() = default;

  virtual LossResult Forward(ConstTensorView values, const Targets& targets) = 0;

  // value_gradient = scale * d loss / d values, for the last Forward's values and targets.
  virtual void Backward(float scale, const Targets& targets, TensorView value_gradient) = 0;
};

}  // namespace downpour::kernels
