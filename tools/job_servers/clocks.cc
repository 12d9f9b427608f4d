#include "tools/job_servers/clocks.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "proto/settings.h"
#include "proto/settings_changes.h"
#include "proto/sync/mode.h"

namespace downpour {
namespace {

// Heartbeats until a worker has surely heard: the one under way, the next, and one to spare.
constexpr double kHeartbeats = 3;

uint64_t StepsAClock(const Job& job) {
  const auto mode = FindSyncMode(job.sync().mode());
  return mode.ok() ? std::max<uint64_t>(1, (*mode)->steps_a_clock(job.sync())) : 1;
}

}  // namespace

std::optional<uint64_t> EndClock(const Job& job, const std::vector<StatusReply>& servers) {
  const uint64_t batch = std::max(1u, job.training().batch());
  uint64_t steps = 0;
  for (const WorkerStatus& worker : servers[0].workers()) {
    const uint64_t samples = worker.report().partition_samples();
    if (samples == 0) return std::nullopt;
    steps = std::max(steps, (samples + batch - 1) / batch * job.training().epochs());
  }
  if (job.training().max_steps() > 0) steps = std::min(steps, job.training().max_steps());
  return steps / StepsAClock(job);
}

uint64_t ClockAhead(const Job& job, const std::vector<StatusReply>& servers) {
  double fastest = 0;
  for (const StatusReply& server : servers) {
    for (const WorkerStatus& worker : server.workers()) {
      fastest = std::max(fastest, worker.report().samples_per_second() / std::max(1u, job.training().batch()));
    }
  }
  const double ahead = fastest * kHeartbeats * job.worker().heartbeat_ms() / 1000;
  return FurthestClock(job, servers) + static_cast<uint64_t>(std::ceil(ahead / static_cast<double>(StepsAClock(job)))) +
         1;
}

uint64_t FurthestStep(const std::vector<StatusReply>& servers) {
  uint64_t furthest = 0;
  for (const StatusReply& server : servers) {
    for (const WorkerStatus& worker : server.workers()) furthest = std::max(furthest, worker.report().step());
  }
  return furthest;
}

uint64_t FurthestClock(const Job& job, const std::vector<StatusReply>& servers) {
  return FurthestStep(servers) / StepsAClock(job);
}

Job WithChanges(const Job& job, const std::vector<SettingsChange>& changes) {
  Job changed = job;
  if (!changes.empty()) {
    *changed.mutable_sync() = changes.back().sync();
    changed.mutable_optimizer()->set_learning_rate(changes.back().learning_rate());
  }
  return changed;
}

absl::StatusOr<std::vector<SettingsChange>> KnownChanges(const std::vector<StatusReply>& servers) {
  std::vector<SettingsChange> known;
  for (const StatusReply& server : servers) {
    if (const auto differs = MergeChanges(server.changes(), &known)) {
      return absl::FailedPreconditionError(absl::StrCat("the servers disagree about version ", *differs + 1,
                                                        " of the settings: two changed them at once"));
    }
  }
  return known;
}

size_t BegunChanges(const std::vector<SettingsChange>& changes, uint64_t furthest_clock) {
  size_t begun = 0;
  while (begun < changes.size() && changes[begun].from_clock() <= furthest_clock) ++begun;
  return begun;
}

absl::StatusOr<NextCheckpoint> PlanCheckpoint(const Job& job, const std::vector<StatusReply>& servers) {
  const auto known = KnownChanges(servers);
  if (!known.ok()) return known.status();
  const auto begun = static_cast<ptrdiff_t>(BegunChanges(*known, FurthestClock(job, servers)));
  const Job now = WithChanges(job, {known->begin(), known->begin() + begun});
  NextCheckpoint next;
  for (const StatusReply& server : servers) next.number = std::max(next.number, server.checkpoint().number() + 1);
  const auto mode = FindSyncMode(now.sync().mode());
  if (!mode.ok()) return mode.status();
  if (!IsStrong(**mode, now.sync())) return next;
  next.clock = ClockAhead(now, servers);
  if (const auto end = EndClock(now, servers)) next.clock = std::min(next.clock, *end);
  return next;
}

}  // namespace downpour
