// Softmax loss: the scores as probabilities of classes, then the cross-entropy with the label.
//
//   p[k] = exp(x[k]) / sum over j of exp(x[j]);  loss = -log(p[label])
//
// Shapes: x {classes}; the label is a class, from 0. No parameters. Gradient: dx[k] = p[k] - (k == label).
// Keys: top_k, loss_weight.
#pragma once

#include "absl/status/statusor.h"
#include "worker/layers/layer.h"

namespace downpour::worker {

absl::StatusOr<AnyLayer> MakeSoftmaxLoss(const LayerContext& context);

}  // namespace downpour::worker
