// The values that a net begins with.
#pragma once

#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "proto/job.pb.h"
#include "worker/net.h"

namespace downpour::worker {

// Net::Initialize. InvalidArgument where a filler makes what is no finite number: names the tensor and the filler of its
// layer in `layers`, of which the net was made.
absl::Status InitializeFinite(const google::protobuf::RepeatedPtrField<downpour::Layer>& layers, const Net& net,
                              std::uint64_t seed, std::span<float> parameters);

}  // namespace downpour::worker
