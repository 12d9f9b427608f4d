// Sets values to zero by chance while training, and does nothing else (kernels/dropout.h).
#pragma once

#include "absl/status/statusor.h"
#include "worker/layers/layer.h"

namespace downpour::worker {

absl::StatusOr<AnyLayer> MakeDropout(const LayerContext& context);

}  // namespace downpour::worker
