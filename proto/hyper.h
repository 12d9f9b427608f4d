// The job's optimizer as its update rule wants it.
#pragma once

#include "kernels/optimizer/update_rule.h"
#include "proto/job.pb.h"

namespace downpour {

// The optimizer's settings; learning rate and update are left for each update to fill in.
kernels::Hyper MakeHyper(const Optimizer& settings);

}  // namespace downpour
