// Checks of what a worker says about its net's parameters.
#pragma once

#include "absl/status/status.h"
#include "proto/service.pb.h"

namespace downpour::ps {

// InvalidArgument, naming the tensor: sizes that overflow, tensors that overlap or stick out, absurd names or
// numbers.
absl::Status ValidateTableSpec(const TableSpec& spec);

// FailedPrecondition, naming the first tensor that differs, unless both describe the same net.
absl::Status CompareTableSpecs(const TableSpec& known, const TableSpec& given);

}  // namespace downpour::ps
