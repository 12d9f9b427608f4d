// Hinge loss of one class against the others, for targets that are classes.
//
//   margin[n][k] = max(0, 1 - scores[n][k]) for the sample's class k, max(0, 1 + scores[n][k]) for the others
//   loss         = sum over n, k of weight[n] * margin[n][k], or of its square
#pragma once

#include "kernels/loss.h"

namespace downpour::kernels {

struct HingeLossSpec {
  int classes = 0;
  bool squared = false;
  int top_k = 1;  // what counts as correct
};

// Values are the scores, {classes} a sample; targets are classes in [0, classes).
class HingeLoss : public LossOp {};

}  // namespace downpour::kernels
