// Contrastive loss: two inputs of one shape, close to each other where the label says 1, at least a margin apart where
// it says 0 (kernels/contrastive_loss.h).
//
// Shapes: both inputs the same, taken as flat. No parameters. Keys: margin, loss_weight.
#pragma once

#include "absl/status/statusor.h"
#include "worker/layers/layer.h"

namespace downpour::worker {

absl::StatusOr<AnyLayer> MakeContrastiveLoss(const LayerContext& context);

}  // namespace downpour::worker
