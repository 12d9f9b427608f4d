// Sigmoid loss: scores as logits of independent classes, then the cross-entropy with the label
// (kernels/sigmoid_loss.h).
//
//   p[k] = 1 / (1 + exp(-x[k]));  loss = - sum over k of log(k is true ? p[k] : 1 - p[k])
//
// Shapes: x {1} for labels 0 and 1, of which 1 makes the score true; x {classes}, each class against the others, for
// the label's. Summed over the scores, as Caffe's SigmoidCrossEntropyLoss; PyTorch's BCEWithLogitsLoss takes the mean.
// No parameters. Gradient: dx[k] = p[k] - (k is true). Keys: top_k, loss_weight.
#pragma once

#include "absl/status/statusor.h"
#include "worker/layers/layer.h"

namespace downpour::worker {

absl::StatusOr<AnyLayer> MakeSigmoidLoss(const LayerContext& context);

}  // namespace downpour::worker
