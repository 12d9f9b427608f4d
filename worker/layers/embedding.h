// Embedding: a learnt vector for each id (kernels/embedding.h), such as that of a word.
//
// Shapes: x {steps, 1, 1}, whole numbers in [0, vocabulary), which wants a data.scale of 1; w "weight" {vocabulary,
// outputs}; y {steps, 1, outputs}. What is no such number makes y NaN, and with it the loss. Gradients: dw[id] = the
// sum of dy over the steps with that id, dx = 0. Weights begin gaussian with deviation 1, as PyTorch's. Keys:
// vocabulary, outputs.
#pragma once

#include "absl/status/statusor.h"
#include "worker/layers/layer.h"

namespace downpour::worker {

absl::StatusOr<AnyLayer> MakeEmbedding(const LayerContext& context);

}  // namespace downpour::worker
