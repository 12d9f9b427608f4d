// The layers that a net can be made of, by the name that stands in a layer's `type`.
#pragma once

#include <span>
#include <string_view>

#include "absl/status/statusor.h"
#include "worker/layers/layer.h"

namespace downpour::worker {

struct LayerType {
  std::string_view type;
  // Fails with kInvalidArgument where the configuration or the inputs' shapes are impossible.
  absl::StatusOr<AnyLayer> (*make)(const LayerContext& context);
  // How many inputs it takes.
  std::size_t fewest = 1;
  std::size_t most = 1;
};

// Every layer. To add one: a header and a source in this folder, a line in table.cc and a choice of
// Layer.type in job.proto; net_test.cc then asks for a line with a small example, and checks its gradient.
std::span<const LayerType> LayerTypes();

// Makes the layer that context.config describes; an unknown type fails with the known ones, as does one that takes another
// number of inputs.
absl::StatusOr<AnyLayer> MakeLayer(const LayerContext& context);

}  // namespace downpour::worker
