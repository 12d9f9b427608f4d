// The job's optimizer as its update rule wants it.
#pragma once

#include <span>

#include "kernels/optimizer/update_rule.h"
#include "proto/job.pb.h"
#include "proto/param_groups.h"

namespace downpour {

// The optimizer's settings; learning rate and update are left for each update to fill in.
kernels::Hyper MakeHyper(const Optimizer& settings);

// The rule by which servers apply gradients; null where they get none, for workers step by themselves. InvalidArgument:
// there is no such optimizer or sync mode.
absl::StatusOr<const kernels::UpdateRule*> ServerRule(const Job& job);

// One update of parameters that go by `settings`; `hyper` is what those of the job go by. For the rest see
// kernels::ApplyUpdate.
void ApplyUpdate(const kernels::UpdateRule& rule, const kernels::Hyper& hyper, const GroupSettings& settings,
                 std::span<float> w, kernels::Slots slots, std::span<const float> g, std::span<float> scratch);

}  // namespace downpour
