// Half the squared distance, for targets that are numbers.
//
//   loss = sum over n of weight[n] * (values[n] - number[n])^2 / 2
#pragma once

#include "kernels/loss.h"

namespace downpour::kernels {

// Values are {1} a sample; targets are numbers.
class EuclideanLoss : public LossOp {};

}  // namespace downpour::kernels
