// Sigmoid with cross-entropy, for targets that are classes: one score for two classes, or each of several classes
// against the others.
//
//   probability[n][k] = 1 / (1 + exp(-scores[n][k]))
//   loss              = - sum over n, k of weight[n] * log(k is true of n ? probability[n][k] : 1 - probability[n][k])
//
// A single score is true of class 1; of several, score k is true of class k.
#pragma once

#include "kernels/loss.h"

namespace downpour::kernels {

struct SigmoidLossSpec {
  int scores = 1;
  int top_k = 1;  // at most `scores`
};

// Values are the scores, {scores} a sample; targets are classes, 0 or 1 for a single score, else in [0, scores). A
// single score says class 1 where it is above 0.
class SigmoidLoss : public LossOp {};

}  // namespace downpour::kernels
