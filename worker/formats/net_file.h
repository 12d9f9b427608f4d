// Nets in the forms in which people have them.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "proto/job.pb.h"

namespace downpour::formats {

// The net of a job file (.yaml, .yml) or of a run folder, with all else that a job says. NotFound or InvalidArgument, naming
// the file. Any thread.
absl::StatusOr<Job> ReadNet(const std::string& path);

}  // namespace downpour::formats
