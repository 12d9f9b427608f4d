// The sides of one sample, as a job names them.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/tensor_view.h"

namespace downpour::worker {

// Of data.shape: channels, height and width; a row of values; or height and width. InvalidArgument for other numbers of
// sides, for a side of 0, and for more than 2^30 values.
absl::StatusOr<kernels::Shape> SampleShape(const std::vector<std::uint32_t>& sides);

}  // namespace downpour::worker
