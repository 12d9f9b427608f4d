// A net's parameters in a file that other tools read: safetensors, whose names and layouts here are PyTorch's.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/net.h"

namespace downpour::worker {

// Writes beside `path` and renames, so that a reader finds a whole file or none. `values` is the flat vector.
absl::Status WriteModel(const std::string& path, const std::vector<Parameter>& parameters,
                        std::span<const float> values);

// Reads a file that has just these tensors, as 32-bit floats, into the flat vector; padding becomes zero. NotFound: no
// such file. InvalidArgument, naming file and tensor: it is no such file, is damaged, or another net's. Allocates no more
// than the file is long.
absl::Status ReadModel(const std::string& path, const std::vector<Parameter>& parameters, std::span<float> values);

// Takes from such a file the tensors that the net has too, by their names, and leaves the other values as they are, and the
// padding. Returns the names of those it left. Errors as ReadModel, but tensors that the net has not don't matter;
// InvalidArgument also where the two have no tensor in common.
absl::StatusOr<std::vector<std::string>> ReadTensorsInCommon(const std::string& path,
                                                             const std::vector<Parameter>& parameters,
                                                             std::span<float> values);

}  // namespace downpour::worker
