// Local response normalisation (kernels/lrn.h), as AlexNet has it. Across channels it is torch.nn.LocalResponseNorm;
// within a channel it is Caffe's, but for k, which is 1 there. Keys: region, local_size, alpha, beta, k.
#pragma once

#include "absl/status/statusor.h"
#include "worker/layers/layer.h"

namespace downpour::worker {

absl::StatusOr<AnyLayer> MakeLrn(const LayerContext& context);

}  // namespace downpour::worker
