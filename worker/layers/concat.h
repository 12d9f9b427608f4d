// Inputs of one height and width, their channels one after the other (kernels/concat.h).
#pragma once

#include "absl/status/statusor.h"
#include "worker/layers/layer.h"

namespace downpour::worker {

absl::StatusOr<AnyLayer> MakeConcat(const LayerContext& context);

}  // namespace downpour::worker
