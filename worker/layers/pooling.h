// Pooling: each output is the largest value in a square window of its channel, or the mean of the window; or of all the
// channel, in global pooling.
//
// Shapes: x {channels, height, width}; y {channels, rows, columns} as kernels/pool2d_spec.h says, or {channels, 1, 1}.
// No parameters. Gradient: dy goes to the place of the maximum, the first where several are equal; or to all of the
// window, to each its share. Keys: kernel, stride, pad, round_up, method; of global pooling, method.
#pragma once

#include "absl/status/statusor.h"
#include "worker/layers/layer.h"

namespace downpour::worker {

absl::StatusOr<AnyLayer> MakePooling(const LayerContext& context);
absl::StatusOr<AnyLayer> MakeGlobalPooling(const LayerContext& context);

}  // namespace downpour::worker
