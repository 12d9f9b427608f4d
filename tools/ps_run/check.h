// Looks a job over without starting anything.
#pragma once

#include "absl/status/status.h"
#include "proto/job.pb.h"

namespace downpour::run {

// Beyond what ParseJob checks: the layers fit each other and the input, the data files that are named are there.
// InvalidArgument or NotFound, naming the layer or the file.
absl::Status CheckJob(const Job& job);

}  // namespace downpour::run
