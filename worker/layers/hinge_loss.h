// Hinge loss of one class against the others (kernels/hinge_loss.h), as Caffe has it.
//
// Shape: x {classes}. No parameters. Keys: squared, top_k, loss_weight.
#pragma once

#include "absl/status/statusor.h"
#include "worker/layers/layer.h"

namespace downpour::worker {

absl::StatusOr<AnyLayer> MakeHingeLoss(const LayerContext& context);

}  // namespace downpour::worker
