// Initial values of parameters.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/layers/layer.h"
#include "worker/random.h"

namespace downpour::worker {

// A layer's "weight", by its keys filler, filler_value, filler_std, filler_min and filler_max; xavier where none is
// named. `inputs` is how many values one output sums up. kInvalidArgument for an unknown filler, with the known ones,
// for a key that is missing or belongs to another filler, and for bilinear where the shape has no window.
absl::StatusOr<ParameterSpec> WeightSpec(const LayerContext& context, std::vector<std::uint32_t> shape, int inputs);

// A layer's "bias", by its key bias_filler_value; 0 without.
ParameterSpec BiasSpec(const LayerContext& context, std::uint32_t size);

// Fills a tensor as its spec says; the same numbers on every machine.
void Fill(const ParameterSpec& spec, Random& random, std::span<float> values);

}  // namespace downpour::worker
