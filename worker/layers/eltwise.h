// Inputs of one shape, put together value by value (kernels/eltwise.h).
#pragma once

#include "absl/status/statusor.h"
#include "worker/layers/layer.h"

namespace downpour::worker {

absl::StatusOr<AnyLayer> MakeEltwise(const LayerContext& context);

}  // namespace downpour::worker
