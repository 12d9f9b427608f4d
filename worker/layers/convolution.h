// Convolution: each output pixel is a bias plus a weighted sum of a square window over all input channels.
//
//   y[o][i][j] = b[o] + sum over c, u, v of w[o][c][u][v] * x[c][i * stride + u - pad][j * stride + v - pad]
//
// Shapes: x {channels, height, width}, zero outside; w "weight" {outputs, channels / groups, kernel, kernel}; b "bias"
// {outputs}; y {outputs, (height + 2 * pad - extent) / stride + 1, (width + 2 * pad - extent) / stride + 1} with an
// extent of (kernel - 1) * dilation + 1. A dilation stands before u and v; with groups c goes through the channels of
// o's own (kernels/conv2d.h). Gradients: dw[o][c][u][v] sums dy * x over all pixels, db[o] sums dy, dx sums w * dy over
// the windows it is in. Keys: outputs, kernel, stride, pad, dilation, groups, filler and its own,
// bias_filler_value.
#pragma once

#include "absl/status/statusor.h"
#include "worker/layers/layer.h"

namespace downpour::worker {

absl::StatusOr<AnyLayer> MakeConvolution(const LayerContext& context);

}  // namespace downpour::worker
