// Probabilities from scores: e^x over its sum, over the channels and at each place of its own (kernels/softmax.h). A
// net's last scores need none, for softmax_loss has its own.
#pragma once

#include "absl/status/statusor.h"
#include "worker/layers/layer.h"

namespace downpour::worker {

absl::StatusOr<AnyLayer> MakeSoftmax(const LayerContext& context);

}  // namespace downpour::worker
