// Layer normalisation (kernels/layer_norm.h), which is the same in training and elsewhere.
//
// Along axis "sample" all values of a sample are normalised together, as torch.nn.LayerNorm([channels, height, width])
// does, and weight and bias have the sample's shape. Along axis "step" it is each row of its own, which for a sequence,
// {steps, 1, features}, is torch.nn.LayerNorm(features); weight and bias are {width}. Keys: axis, epsilon.
#pragma once

#include "absl/status/statusor.h"
#include "worker/layers/layer.h"

namespace downpour::worker {

absl::StatusOr<AnyLayer> MakeLayerNorm(const LayerContext& context);

}  // namespace downpour::worker
