// The keys that convolutions share.
#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/conv2d.h"
#include "worker/layers/layer.h"

namespace downpour::worker {

// outputs, kernel, stride, pad, dilation and groups; the spec's input is left out. kInvalidArgument where one is out of
// its bounds, or where groups do not divide outputs and the channels of the layer's input.
absl::StatusOr<kernels::Conv2dSpec> ConvKeys(const LayerContext& context);

// kInvalidArgument where a tensor of the convolution, or the patches of an image, would have more than 2^31 values.
absl::Status CheckConvSize(const LayerContext& context, const kernels::Conv2dSpec& spec);

}  // namespace downpour::worker
