// Who takes values from whom in a net, before any of its layers is made.
#pragma once

#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/job.pb.h"

namespace downpour::worker {

// What a layer's `inputs` call the samples.
inline constexpr std::string_view kSamplesName = "data";

// In the place of a layer, as an input.
inline constexpr int kSamples = -1;

struct GraphNode {
  int layer = 0;            // its place in the job's net
  std::vector<int> inputs;  // places in the order, or kSamples
};

// The layers in an order in which each stands after those whose values it takes, and otherwise as in the job. A layer
// that names no inputs takes the values of the one before it; the first, the samples.
//
// Fails with kInvalidArgument, naming the layers, for names that are missing, twice there or the samples', for inputs
// that do not exist, and for layers that wait for each other.
absl::StatusOr<std::vector<GraphNode>> OrderLayers(const google::protobuf::RepeatedPtrField<downpour::Layer>& layers);

}  // namespace downpour::worker
