// Looks a job over without starting anything.
#pragma once

#include <cstddef>

#include "absl/status/statusor.h"
#include "proto/job.pb.h"

namespace downpour::run {

struct NetFacts {
  std::size_t values = 0;      // of a sample
  std::size_t outputs = 0;     // values of a sample that the loss takes
  int classes = 0;             // that labels count; 0 where they are numbers
  std::size_t parameters = 0;  // floats
};

// Beyond what ParseJob checks: the layers fit each other and the input, the data files that are named are there.
// InvalidArgument or NotFound, naming the layer or the file.
absl::StatusOr<NetFacts> CheckJob(const Job& job);

}  // namespace downpour::run
