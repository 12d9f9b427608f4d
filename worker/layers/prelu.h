// Leaky ReLU whose slopes are learnt, one for each channel (kernels/prelu.h).
#pragma once

#include "absl/status/statusor.h"
#include "worker/layers/layer.h"

namespace downpour::worker {

absl::StatusOr<AnyLayer> MakePrelu(const LayerContext& context);

}  // namespace downpour::worker
