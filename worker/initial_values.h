// The values that a net begins with.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/job.pb.h"
#include "worker/net.h"

namespace downpour::worker {

// Net::Initialize. InvalidArgument where a filler makes what is no finite number: names the tensor and the filler of its
// layer in `layers`, of which the net was made.
absl::Status InitializeFinite(const google::protobuf::RepeatedPtrField<downpour::Layer>& layers, const Net& net,
                              std::uint64_t seed, std::span<float> parameters);

// The same by the job's seed, and then, where the job has training.start_from, that model's tensors in place of those of
// the same names. Returns the names of the tensors that the model has not, none where the job names no model. Errors also as
// ReadTensorsInCommon, after the key's name.
absl::StatusOr<std::vector<std::string>> InitialValues(const Job& job, const Net& net, std::span<float> parameters);

// The second half alone.
absl::StatusOr<std::vector<std::string>> StartFromModel(const Job& job, const std::vector<Parameter>& parameters,
                                                        std::span<float> values);

}  // namespace downpour::worker
