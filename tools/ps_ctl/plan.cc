#include "tools/ps_ctl/plan.h"

#include <algorithm>
#include <cmath>

#include <google/protobuf/util/message_differencer.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "proto/job_config.h"
#include "proto/settings.h"
#include "proto/sync/mode.h"

namespace downpour::ctl {
namespace {

using google::protobuf::util::MessageDifferencer;

// Heartbeats until a worker has surely heard: the one under way, the next, and one to spare.
constexpr double kHeartbeats = 3;

uint64_t StepsAClock(const Job& job) {
  const auto mode = FindSyncMode(job.sync().mode());
  return mode.ok() ? std::max<uint64_t>(1, (*mode)->steps_a_clock(job.sync())) : 1;
}

// The clock at which the last worker will be done; none while somebody's share is not known.
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
  return FurthestClock(job, servers) + static_cast<uint64_t>(std::ceil(ahead / static_cast<double>(StepsAClock(job)))) + 1;
}

}  // namespace

uint64_t FurthestClock(const Job& job, const std::vector<StatusReply>& servers) {
  uint64_t furthest = 0;
  for (const StatusReply& server : servers) {
    for (const WorkerStatus& worker : server.workers()) furthest = std::max(furthest, worker.report().step());
  }
  return furthest / StepsAClock(job);
}

size_t BegunChanges(const std::vector<SettingsChange>& changes, uint64_t furthest_clock) {
  size_t begun = 0;
  while (begun < changes.size() && changes[begun].from_clock() <= furthest_clock) ++begun;
  return begun;
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
    for (int i = 0; i < server.changes_size(); ++i) {
      if (static_cast<size_t>(i) == known.size()) {
        known.push_back(server.changes(i));
      } else if (!MessageDifferencer::Equals(known[i], server.changes(i))) {
        return absl::FailedPreconditionError(
            absl::StrCat("the servers disagree about version ", i + 1, " of the settings: two changed them at once"));
      }
    }
  }
  return known;
}

absl::StatusOr<SettingsChange> PlanChange(const Job& job, const std::vector<StatusReply>& servers,
                                          const std::vector<std::string>& set, std::optional<uint64_t> at_clock) {
  const auto known = KnownChanges(servers);
  if (!known.ok()) return known.status();
  const Job before = WithChanges(job, *known);

  const auto after = WithKeys(before, set);
  if (!after.ok()) return after.status();

  Job same = before;
  *same.mutable_sync() = after->sync();
  same.mutable_optimizer()->set_learning_rate(after->optimizer().learning_rate());
  if (!MessageDifferencer::Equals(same, *after)) {
    return absl::InvalidArgumentError(absl::StrCat("only sync.* and optimizer.learning_rate can change while a job runs, not ",
                                                   Differences(same, *after)));
  }
  if (MessageDifferencer::Equals(before, *after)) {
    return absl::FailedPreconditionError("these are the settings already");
  }
  auto history = SettingsHistory::Create(job);
  if (!history.ok()) return history.status();
  for (const SettingsChange& change : *known) {
    if (absl::Status status = history->Add(change); !status.ok()) return status;
  }
  SettingsChange change;
  change.set_version(static_cast<uint32_t>(known->size()) + 1);
  change.set_from_clock(
      std::max(at_clock.value_or(ClockAhead(before, servers)), at_clock ? 0 : history->latest().from_clock));
  *change.mutable_sync() = after->sync();
  change.set_learning_rate(after->optimizer().learning_rate());
  if (absl::Status status = history->Check(change); !status.ok()) return status;
  if (const auto end = EndClock(before, servers); end && change.from_clock() >= *end) {
    return absl::InvalidArgumentError(
        absl::StrCat("the job is done at clock ", *end, "; a change from clock ", change.from_clock(),
                     " on would never count"));
  }
  if (change.sync().mode() != before.sync().mode() && change.from_clock() <= FurthestClock(before, servers)) {
    return absl::InvalidArgumentError(absl::StrCat("a worker is at clock ", FurthestClock(before, servers),
                                                   " already; another mode has to begin after that, not at ",
                                                   change.from_clock()));
  }
  return change;
}

std::string Differences(const Job& before, const Job& after) {
  std::string report;
  MessageDifferencer differencer;
  differencer.ReportDifferencesToString(&report);
  differencer.Compare(before, after);
  // "modified: sync.n_push: 5 -> 10"; keys that come and go with a mode are of no news.
  std::vector<std::string> lines;
  for (absl::string_view line : absl::StrSplit(report, '\n', absl::SkipEmpty())) {
    if (absl::ConsumePrefix(&line, "modified: ")) lines.emplace_back(line);
  }
  return absl::StrJoin(lines, ", ");
}

}  // namespace downpour::ctl
