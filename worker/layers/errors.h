// The words of what is wrong with a layer's configuration.
#pragma once

#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "worker/layers/layer.h"

namespace downpour::worker {

// kInvalidArgument: "layer pool1 (pooling): <problem>; its input is 20x24x24, from layer conv1".
template <typename... Parts>
absl::Status LayerError(const LayerContext& context, const Parts&... problem) {
  return absl::InvalidArgumentError(
      absl::StrCat("layer ", context.config.name(), " (", context.config.type(), "): ", problem...,
                   "; its input is ", kernels::ToString(context.input), ", from ", context.input_name));
}

}  // namespace downpour::worker
