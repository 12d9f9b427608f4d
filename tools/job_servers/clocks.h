// How far a job's workers are, from what its servers say, and what comes in time for all of them.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/job.pb.h"
#include "proto/service.pb.h"

namespace downpour {

// The job with the settings that count last, as these changes made them.
Job WithChanges(const Job& job, const std::vector<SettingsChange>& changes);

// The changes that some server knows, in order. FailedPrecondition where two servers disagree about one of them.
absl::StatusOr<std::vector<SettingsChange>> KnownChanges(const std::vector<StatusReply>& servers);

// The step of the worker that is furthest; 0 before any has begun.
uint64_t FurthestStep(const std::vector<StatusReply>& servers);

// The clock of the worker that is furthest; 0 before any has begun.
uint64_t FurthestClock(const Job& job, const std::vector<StatusReply>& servers);

// Of these changes, in order, those that the furthest worker goes by already.
size_t BegunChanges(const std::vector<SettingsChange>& changes, uint64_t furthest_clock);

// What a checkpoint that is begun now is called, and the clock that it is to be as of: in rounds one ahead, else 0.
// FailedPrecondition where the servers disagree about settings.
struct NextCheckpoint {
  uint64_t number = 0;
  uint64_t clock = 0;
};
absl::StatusOr<NextCheckpoint> PlanCheckpoint(const Job& job, const std::vector<StatusReply>& servers);

// The clock at which the last worker will be done; none while somebody's share is not known.
std::optional<uint64_t> EndClock(const Job& job, const std::vector<StatusReply>& servers);

// A clock that no worker will have reached before all have heard of it.
uint64_t ClockAhead(const Job& job, const std::vector<StatusReply>& servers);

}  // namespace downpour
