// The job's optimizer as its update rule wants it.
#pragma once

#include "kernels/optimizer/update_rule.h"
#include "proto/job.pb.h"

namespace downpour {

// The optimizer's settings; learning rate and update are left for each update to fill in.
kernels::Hyper MakeHyper(const Optimizer& settings);

// The rule by which servers apply gradients; null where they get none, for workers step by themselves. InvalidArgument:
// there is no such optimizer or sync mode.
absl::StatusOr<const kernels::UpdateRule*> ServerRule(const Job& job);

// What a group of parameters goes by.
kernels::Hyper Scaled(kernels::Hyper hyper, float lr_mult, float decay_mult);

}  // namespace downpour
