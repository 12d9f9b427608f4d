// Multi-head self-attention (Vaswani et al. 2017): each step of a sequence becomes a mean of all steps' values, or
// where causal of those up to itself, weighted by how its query meets their keys (kernels/attention.h).
//
//   queries, keys, values = x in_proj^T + bias, three blocks of E
//   y                     = attention(queries, keys, values) out_proj^T + bias
//
// Shapes: x {steps, 1, E}; "in_proj_weight" {3 E, E}, "in_proj_bias" {3 E}, "out_proj.weight" {E, E}, "out_proj.bias"
// {E}, as in PyTorch's MultiheadAttention, and filled as there; y {steps, 1, E}. Keys: heads, causal.
#pragma once

#include "absl/status/statusor.h"
#include "worker/layers/layer.h"

namespace downpour::worker {

absl::StatusOr<AnyLayer> MakeSelfAttention(const LayerContext& context);

}  // namespace downpour::worker
