// Initial values of parameters.
#pragma once

#include <span>
#include <string_view>

#include "absl/status/statusor.h"
#include "worker/layers/layer.h"
#include "worker/random.h"

namespace downpour::worker {

// "xavier" or "msra", and xavier for an empty name. kInvalidArgument, with the known ones, for any other.
absl::StatusOr<Filler> FillerFromName(std::string_view name);

// Fills a tensor as its spec says; the same numbers on every machine.
void Fill(const ParameterSpec& spec, Random& random, std::span<float> values);

}  // namespace downpour::worker
