// Softmax with cross-entropy, for targets that are classes.
//
//   probability[n][k] = exp(scores[n][k]) / sum over j of exp(scores[n][j])
//   loss              = - sum over n of weight[n] * log(probability[n][class[n]])      in nats
#pragma once

#include "kernels/loss.h"

namespace downpour::kernels {

struct SoftmaxLossSpec {
  int classes = 0;
  int top_k = 1;  // what counts as correct
};

// Values are the scores, {classes} a sample; targets are classes in [0, classes).
class SoftmaxLoss : public LossOp {};

}  // namespace downpour::kernels
