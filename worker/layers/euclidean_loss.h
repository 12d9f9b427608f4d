// Euclidean loss: half the squared distance between the net's one value and the label, a number.
//
//   loss = (x - label)^2 / 2
//
// Shapes: x {1}. No parameters. Gradient: dx = x - label. Keys: loss_weight.
#pragma once

#include "absl/status/statusor.h"
#include "worker/layers/layer.h"

namespace downpour::worker {

absl::StatusOr<AnyLayer> MakeEuclideanLoss(const LayerContext& context);

}  // namespace downpour::worker
