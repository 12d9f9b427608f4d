#include "ps/membership.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "ps/text.h"

namespace downpour::ps {
namespace {

constexpr size_t kMaxObservers = 1024;
constexpr size_t kMaxEnded = 16;
constexpr size_t kMaxTurnedAway = 16;
constexpr size_t kMaxReason = 1000;

std::string ToString(const AttemptId& attempt) { return absl::StrCat(attempt.stage, ".", attempt.task); }

}  // namespace

std::string Membership::Describe(const Entry& entry) {
  const Candidate& c = entry.holder;
  return absl::StrCat(c.observer ? "observer" : "worker", " ", c.partition, " (",
                      c.host.empty() ? "?" : c.host, ", pid ", c.pid, ", attempt ", ToString(c.attempt), ")");
}

std::string Membership::Describe(uint32_t partition) const {
  return partition < workers_.size() ? Describe(workers_[partition]) : absl::StrCat("worker ", partition);
}

absl::StatusOr<Admission> Membership::Register(const Candidate& candidate, int64_t now_ms) {
  if (candidate.observer) {
    if (observers_.size() >= kMaxObservers) {
      return absl::ResourceExhaustedError(absl::StrCat("there are ", kMaxObservers, " observers already"));
    }
    observers_[++last_fence_] = {candidate, WorkerStatus::LIVE, last_fence_, now_ms, {}, {}};
    return Admission{.fence = last_fence_};
  }
  if (candidate.partition >= workers_.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("partition ", candidate.partition, " of a job of ", workers_.size(), " workers"));
  }
  Entry& entry = workers_[candidate.partition];
  if (entry.fence != 0 && candidate.attempt.stage < entry.holder.attempt.stage) {
    return absl::AbortedError(absl::StrCat("attempt ", ToString(candidate.attempt), " of partition ",
                                           candidate.partition, " is superseded by ", Describe(entry)));
  }
  const bool same_process = candidate.host == entry.holder.host && candidate.pid == entry.holder.pid;
  if (entry.state == WorkerStatus::LIVE && candidate.attempt == entry.holder.attempt) {
    if (!same_process) {
      return absl::AbortedError(absl::StrFormat(
          "partition %d is held by %s, heard of %.1f s ago; another process needs another attempt",
          candidate.partition, Describe(entry), static_cast<double>(now_ms - entry.heard_ms) / 1000));
    }
    entry.heard_ms = now_ms;
    return Admission{.fence = entry.fence, .earlier = entry.earlier};
  }
  const bool taken = entry.state == WorkerStatus::FINISHED || (entry.state == WorkerStatus::LIVE && !same_process);
  if (taken && candidate.attempt.stage == entry.holder.attempt.stage && candidate.attempt != entry.holder.attempt) {
    const bool news = entry.turned_away.size() < kMaxTurnedAway && entry.turned_away.insert(candidate.attempt).second;
    return Admission{.holder = StatusOf(entry, now_ms), .news = news};
  }
  return Replace(entry, candidate, now_ms);
}

void Membership::Restart(const std::vector<WorkerReport>& earlier) {
  workers_ = std::vector<Entry>(workers_.size());
  for (size_t i = 0; i < std::min(earlier.size(), workers_.size()); ++i) {
    if (earlier[i].partition_samples() > 0) workers_[i].earlier = earlier[i];
  }
}

std::vector<WorkerReport> Membership::Reports() const {
  std::vector<WorkerReport> reports;
  for (const Entry& entry : workers_) {
    reports.push_back(entry.report.partition_samples() > 0 ? entry.report : entry.earlier.value_or(WorkerReport()));
    reports.back().clear_epochs();
  }
  return reports;
}

Admission Membership::Replace(Entry& entry, const Candidate& candidate, int64_t now_ms) {
  if (entry.state == WorkerStatus::LIVE) {
    AddEnded(entry, absl::StrCat("attempt ", ToString(candidate.attempt), " came"));
  }
  if (candidate.attempt.stage > entry.holder.attempt.stage) entry.turned_away.clear();
  if (entry.report.partition_samples() > 0) entry.earlier = std::move(entry.report);
  entry.holder = candidate;
  entry.state = WorkerStatus::LIVE;
  entry.fence = ++last_fence_;
  entry.heard_ms = now_ms;
  entry.report = {};
  entry.reason.clear();
  return {.fence = entry.fence, .earlier = entry.earlier};
}

void Membership::AddEnded(Entry& entry, const std::string& reason) {
  ++ended_;
  if (entry.ended.size() >= kMaxEnded) return;
  EndedAttempt& ended = entry.ended.emplace_back();
  ended.mutable_attempt()->set_stage(entry.holder.attempt.stage);
  ended.mutable_attempt()->set_task(entry.holder.attempt.task);
  ended.set_state(entry.state);
  ended.set_host(entry.holder.host);
  ended.set_reason(reason);
  ended.set_samples(entry.report.samples());
  ended.set_number(ended_);
}

absl::Status Membership::Ended(uint32_t partition, uint64_t fence) const {
  if (partition < workers_.size()) {
    const Entry& entry = workers_[partition];
    if (fence != 0 && fence < entry.fence) {
      return absl::AbortedError(absl::StrCat("superseded by ", Describe(entry)));
    }
    if (fence == entry.fence && entry.state == WorkerStatus::LOST) {
      return absl::DeadlineExceededError(
          absl::StrCat("the lease of partition ", partition, " has run out: ", entry.reason));
    }
  }
  return absl::AbortedError(absl::StrCat("fence ", fence, " holds no lease of partition ", partition));
}

absl::Status Membership::Check(uint32_t partition, uint64_t fence) const {
  if (observers_.contains(fence)) return absl::OkStatus();
  if (partition < workers_.size() && fence != 0 && workers_[partition].fence == fence &&
      workers_[partition].state == WorkerStatus::LIVE) {
    return absl::OkStatus();
  }
  return Ended(partition, fence);
}

absl::Status Membership::Heartbeat(uint32_t partition, uint64_t fence, const WorkerReport& report,
                                   int64_t now_ms) {
  if (absl::Status status = Check(partition, fence); !status.ok()) return status;
  const auto observer = observers_.find(fence);
  Entry& entry = observer != observers_.end() ? observer->second : workers_[partition];
  entry.heard_ms = now_ms;
  entry.report = report;
  return absl::OkStatus();
}

absl::Status Membership::Leave(const LeaveRequest& request, int64_t now_ms) {
  if (observers_.erase(request.fence()) != 0) return absl::OkStatus();
  if (absl::Status status = Check(request.partition(), request.fence()); !status.ok()) return status;
  Entry& entry = workers_[request.partition()];
  entry.heard_ms = now_ms;
  if (request.has_report()) entry.report = request.report();
  entry.reason = Beginning(request.reason(), kMaxReason);
  switch (request.outcome()) {
    case FAILED: entry.state = WorkerStatus::BROKEN; break;
    case STOPPED: entry.state = WorkerStatus::LEFT; break;
    default: entry.state = WorkerStatus::FINISHED; break;
  }
  if (entry.state != WorkerStatus::FINISHED) AddEnded(entry, entry.reason);
  return absl::OkStatus();
}

std::vector<LostWorker> Membership::Expire(int64_t now_ms) {
  std::vector<LostWorker> lost;
  // Who did not look for so long was not there to hear anyone either: a stopped process, a suspended machine.
  if (const int64_t away_ms = now_ms - last_look_ms_; last_look_ms_ >= 0 && away_ms > lease_ms_ / 2) {
    for (Entry& entry : workers_) entry.heard_ms += away_ms;
    for (auto& [fence, entry] : observers_) entry.heard_ms += away_ms;
  }
  last_look_ms_ = now_ms;
  const auto expire = [&](Entry& entry) {
    const int64_t silent_ms = now_ms - entry.heard_ms;
    if (entry.state != WorkerStatus::LIVE || silent_ms < lease_ms_) return false;
    entry.state = WorkerStatus::LOST;
    entry.reason = absl::StrFormat("silent for %.1f s", static_cast<double>(silent_ms) / 1000);
    if (!entry.holder.observer) AddEnded(entry, entry.reason);
    lost.push_back({entry.holder.partition, entry.fence, entry.holder.observer, Describe(entry), silent_ms});
    return true;
  };
  for (Entry& entry : workers_) expire(entry);
  for (auto it = observers_.begin(); it != observers_.end();) {
    it = expire(it->second) ? observers_.erase(it) : std::next(it);
  }
  return lost;
}

WorkerStatus Membership::StatusOf(const Entry& entry, int64_t now_ms) const {
  WorkerStatus status;
  status.set_partition(entry.holder.partition);
  status.set_state(entry.state);
  status.mutable_attempt()->set_stage(entry.holder.attempt.stage);
  status.mutable_attempt()->set_task(entry.holder.attempt.task);
  *status.mutable_report() = entry.report;
  status.set_host(entry.holder.host);
  status.set_pid(entry.holder.pid);
  status.set_reason(entry.reason);
  status.set_silent_ms(std::max<int64_t>(0, now_ms - entry.heard_ms));
  status.mutable_ended()->Assign(entry.ended.begin(), entry.ended.end());
  return status;
}

std::vector<WorkerStatus> Membership::Status(int64_t now_ms) const {
  std::vector<WorkerStatus> all;
  for (uint32_t partition = 0; partition < workers_.size(); ++partition) {
    const Entry& entry = workers_[partition];
    all.push_back(entry.fence == 0 ? WorkerStatus() : StatusOf(entry, now_ms));
    all.back().set_partition(partition);
  }
  return all;
}

}  // namespace downpour::ps
