// Functions of each value by itself (kernels/activation.h).
#pragma once

#include "absl/status/statusor.h"
#include "worker/layers/layer.h"

namespace downpour::worker {

absl::StatusOr<AnyLayer> MakeLeakyRelu(const LayerContext& context);
absl::StatusOr<AnyLayer> MakeElu(const LayerContext& context);
absl::StatusOr<AnyLayer> MakeGelu(const LayerContext& context);
absl::StatusOr<AnyLayer> MakeSigmoid(const LayerContext& context);
absl::StatusOr<AnyLayer> MakeTanh(const LayerContext& context);

}  // namespace downpour::worker
