// What the loss of a run's epochs came to.
#pragma once

#include <optional>
#include <string>

#include "proto/job.pb.h"
#include "tools/ps_run/job_status.h"

namespace downpour::run {

// Means over all workers' samples, of the first and of the last epoch of each.
struct TrainingLoss {
  double first = 0;
  double last = 0;
};

// None where it is not known: before the first epoch's end, and of workers that went through more epochs than they keep.
std::optional<TrainingLoss> TrainingLossOf(const JobStatus& status);

// What to say of a run whose loss grew, and what to do; none of any other.
std::optional<std::string> Divergence(const Job& job, const JobStatus& status);

}  // namespace downpour::run
