// The part [from, to) of its input along one axis: channels, rows or columns; without a `to` up to the end. What it
// leaves away gets a gradient of 0. Several of them cut an input into pieces. Keys: axis, from, to.
#pragma once

#include "absl/status/statusor.h"
#include "worker/layers/layer.h"

namespace downpour::worker {

absl::StatusOr<AnyLayer> MakeSlice(const LayerContext& context);

}  // namespace downpour::worker
