// Rectified linear unit, value by value: y = max(x, 0).
//
// Shapes: y has that of x. No parameters. Gradient: dx = dy where x > 0, else 0. No keys.
#pragma once

#include "absl/status/statusor.h"
#include "worker/layers/layer.h"

namespace downpour::worker {

absl::StatusOr<AnyLayer> MakeRelu(const LayerContext& context);

}  // namespace downpour::worker
