// The same values as another shape, in their order.
#pragma once

#include "absl/status/statusor.h"
#include "worker/layers/layer.h"

namespace downpour::worker {

// {channels, height, width} or {size}. Key: shape.
absl::StatusOr<AnyLayer> MakeReshape(const LayerContext& context);

// {size}
absl::StatusOr<AnyLayer> MakeFlatten(const LayerContext& context);

}  // namespace downpour::worker
