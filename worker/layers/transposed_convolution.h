// Transposed convolution, which some call deconvolution: the convolution's gradient with respect to its input, as a
// function of its own (Zeiler et al. 2010; Long et al. 2015). Each value of the input adds a window of its own.
//
//   y[o][i * stride + u - pad][j * stride + v - pad] = b[o] + sum over c, i, u, j, v that lead there of
//                                                     w[c][o][u][v] * x[c][i][j]
//
// Shapes: x {channels, height, width}; w "weight" {channels, outputs / groups, kernel, kernel}; b "bias" {outputs}; y
// {outputs, (height - 1) * stride + extent - 2 * pad, (width - 1) * stride + extent - 2 * pad} with an extent of
// (kernel - 1) * dilation + 1. A dilation stands before u and v; with groups c goes through the channels of o's own. As
// torch.nn.ConvTranspose2d. Keys: outputs, kernel, stride, pad, dilation, groups, filler, whose "inputs" are the values
// that meet in one place of the output.
#pragma once

#include "absl/status/statusor.h"
#include "worker/layers/layer.h"

namespace downpour::worker {

absl::StatusOr<AnyLayer> MakeTransposedConvolution(const LayerContext& context);

}  // namespace downpour::worker
