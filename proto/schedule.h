// How the learning rate changes with a worker's steps.
#pragma once

#include <cstdint>

#include "proto/job.pb.h"

namespace downpour {

// The factor on the base rate at `step`, from 0. The formulas are those of Caffe's solvers.
double ScheduleFactor(const Schedule& schedule, uint64_t step);

// The rate at `step`: optimizer.learning_rate times the factor.
float LearningRate(const Job& job, uint64_t step);

}  // namespace downpour
