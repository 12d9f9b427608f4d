// How the learning rate changes with a worker's steps.
#pragma once

#include <cstdint>

#include "proto/job.pb.h"

namespace downpour {

// The factor on the base rate at `step`, from 0: the policy's times that of the warm-up. The formulas stand in
// job.proto; they are those of Caffe's solvers, cosine that of Loshchilov and Hutter (2017) without restarts, and the
// warm-up that of Goyal et al. (2017). The policy counts its steps from the first, warm-up or not.
double ScheduleFactor(const Schedule& schedule, uint64_t step);

// The rate at `step`: optimizer.learning_rate times the factor.
float LearningRate(const Job& job, uint64_t step);

}  // namespace downpour
