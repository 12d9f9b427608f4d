// The words of what is wrong with a layer's configuration.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "worker/layers/layer.h"

namespace downpour::worker {

// kInvalidArgument: "layer pool1 (pooling): <problem>; its input is 20x24x24, from layer conv1", or "; its inputs are
// 20x24x24, from layer conv1, and 50, from layer ip1".
template <typename... Parts>
absl::Status LayerError(const LayerContext& context, const Parts&... problem) {
  const std::string inputs = absl::StrJoin(context.inputs, ", and ", [](std::string* out, const LayerInput& input) {
    absl::StrAppend(out, kernels::ToString(input.shape), ", from ", input.name);
  });
  return absl::InvalidArgumentError(absl::StrCat("layer ", context.config.name(), " (", context.config.type(),
                                                 "): ", problem..., context.inputs.size() == 1 ? "; its input is "
                                                                                               : "; its inputs are ",
                                                 inputs));
}

}  // namespace downpour::worker
