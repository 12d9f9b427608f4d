// Max pooling: each output is the largest value in a square window of its channel.
//
//   y[c][i][j] = max over u, v of x[c][i * stride + u][j * stride + v]
//
// Shapes: x {channels, height, width}; y {channels, (height - kernel) / stride + 1, (width - kernel) / stride
// + 1}, rounded down: what is left over at the edges is not looked at. No parameters. Gradient: dy goes to
// the place of the maximum, the first where several are equal. Keys: kernel, stride, method.
#pragma once

#include "absl/status/statusor.h"
#include "worker/layers/layer.h"

namespace downpour::worker {

absl::StatusOr<AnyLayer> MakePooling(const LayerContext& context);

}  // namespace downpour::worker
