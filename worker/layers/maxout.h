// The largest of each `pieces` channels that follow each other (kernels/maxout.h). Behind an inner_product or a
// convolution it is the activation of Goodfellow et al. 2013. Key: pieces.
#pragma once

#include "absl/status/statusor.h"
#include "worker/layers/layer.h"

namespace downpour::worker {

absl::StatusOr<AnyLayer> MakeMaxout(const LayerContext& context);

}  // namespace downpour::worker
