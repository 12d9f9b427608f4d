// Batch normalisation with learnt scale and shift (kernels/batch_norm.h). Its running averages are parameters that no
// optimizer touches.
#pragma once

#include "absl/status/statusor.h"
#include "worker/layers/layer.h"

namespace downpour::worker {

absl::StatusOr<AnyLayer> MakeBatchNorm(const LayerContext& context);

}  // namespace downpour::worker
