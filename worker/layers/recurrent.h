// Recurrent layers over a sequence: lstm and gru (kernels/recurrent.h).
//
// Shapes: x {steps, 1, inputs}; "weight_ih_l0" {gates * outputs, inputs}, "weight_hh_l0" {gates * outputs, outputs},
// "bias_ih_l0" and "bias_hh_l0" {gates * outputs}, as in PyTorch's LSTM and GRU, and filled as there, uniformly within
// 1 / sqrt(outputs); y {steps, 1, outputs}, or {outputs} of the last step. Keys: outputs, last.
#pragma once

#include "absl/status/statusor.h"
#include "worker/layers/layer.h"

namespace downpour::worker {

absl::StatusOr<AnyLayer> MakeLstm(const LayerContext& context);
absl::StatusOr<AnyLayer> MakeGru(const LayerContext& context);

}  // namespace downpour::worker
