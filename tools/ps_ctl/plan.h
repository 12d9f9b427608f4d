// What a change of a running job's settings comes to, from what its servers say.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/job.pb.h"
#include "proto/service.pb.h"
#include "tools/job_servers/clocks.h"

namespace downpour::ctl {

// The next change: `set` are assignments such as "sync.n_push=10". Where they choose another mode, what both modes have stays
// and the rest of the new one's settings are its defaults. `at_clock` none: a clock that no worker will have reached before all have heard of it.
// InvalidArgument as ParseJob and SettingsHistory::Check have it, or where something else than sync and the learning rate
// would change, or where the job ends before that clock.
absl::StatusOr<SettingsChange> PlanChange(const Job& job, const std::vector<StatusReply>& servers,
                                          const std::vector<std::string>& set, std::optional<uint64_t> at_clock);

// What has another value: "sync.n_push: 5 -> 10, optimizer.learning_rate: 0.1 -> 0.05"
std::string Differences(const Job& before, const Job& after);

}  // namespace downpour::ctl
