// Inner product: a fully connected layer. An input that is not flat is taken as flat.
//
//   y[o] = b[o] + sum over i of w[o][i] * x[i]
//
// Shapes: x {inputs}; w "weight" {outputs, inputs}; b "bias" {outputs}; y {outputs}.
// Gradients: dw[o][i] = dy[o] * x[i], db = dy, dx[i] = sum over o of w[o][i] * dy[o].
// With per_step, x {steps, 1, inputs} and y {steps, 1, outputs}: the same for each step, as PyTorch's Linear has it.
// Keys: outputs, per_step, filler and its own, bias_filler_value.
#pragma once

#include "absl/status/statusor.h"
#include "worker/layers/layer.h"

namespace downpour::worker {

absl::StatusOr<AnyLayer> MakeInnerProduct(const LayerContext& context);

}  // namespace downpour::worker
