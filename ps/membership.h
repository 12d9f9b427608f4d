// Who is in the job: one lease for each partition, and observers. Deterministic: time comes in with each
// call.
//
// Attempts at a partition: a later stage attempt takes it from an earlier one at once, for then all have been told to
// start again. Another task attempt of the same stage attempt may be a speculative duplicate, or the next try of one
// that failed; nothing tells them apart but whether the holder still keeps its lease. So it waits for that. An
// attempt and its duplicate may come in either order: the first to come holds the partition.
//
// Not thread safe; whoever owns one guards it.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/service.pb.h"

namespace downpour::ps {

// A later stage is newer; the order of tasks is for sets alone.
struct AttemptId {
  uint32_t stage = 0;
  uint32_t task = 0;

  friend auto operator<=>(const AttemptId&, const AttemptId&) = default;
};

struct Candidate {
  uint32_t partition = 0;
  AttemptId attempt;
  bool observer = false;
  std::string host;
  int64_t pid = 0;
};

struct LostWorker {
  uint32_t partition = 0;
  uint64_t fence = 0;
  bool observer = false;
  std::string who;  // "worker 1 (host, pid 123, attempt 0.0)"
  int64_t silent_ms = 0;
};

// What comes of asking for a lease.
struct Admission {
  uint64_t fence = 0;                   // 0: none is given
  std::optional<WorkerStatus> holder;   // then: who has the partition (LIVE) or has completed it (FINISHED)
  std::optional<WorkerReport> earlier;  // what earlier attempts last said once they knew their rows
  bool news = false;                    // said to this attempt for the first time, of the stage's first 16 so told
};

class Membership {
 public:
  Membership(uint32_t workers, int64_t lease_ms) : lease_ms_(lease_ms), workers_(workers) {}

  // Gives a lease, or the same one again to the same process. Fences grow, whoever gets them. None is given, with its
  // holder, where another process of another task attempt and the same stage attempt is live or finished.
  // Aborted: a later stage attempt, or another process of the same attempt, holds the partition. InvalidArgument:
  // there is no such partition. ResourceExhausted: too many observers.
  absl::StatusOr<Admission> Register(const Candidate& candidate, int64_t now_ms);

  // Renews. Aborted: the lease was superseded, given back, or has run out.
  absl::Status Heartbeat(uint32_t partition, uint64_t fence, const WorkerReport& report, int64_t now_ms);

  // Gives a lease back. Aborted as above. The report counts as the last one.
  absl::Status Leave(const LeaveRequest& request, int64_t now_ms);

  // Takes the leases that have run out. To be called several times in a lease's time: time in which nobody
  // called does not count against the workers.
  std::vector<LostWorker> Expire(int64_t now_ms);

  // Whether the fence holds a lease now: who may open a stream. Aborted with the reason otherwise.
  absl::Status Check(uint32_t partition, uint64_t fence) const;

  // Nobody has come yet, but by partition these were said before; fences go on growing, and observers stay. Where nobody
  // is live.
  void Restart(const std::vector<WorkerReport>& earlier);
  // By partition, what its worker last said of itself, once it knew its rows; without its epochs, which may be many.
  std::vector<WorkerReport> Reports() const;

  bool IsObserver(uint64_t fence) const { return observers_.contains(fence); }

  std::string Describe(uint32_t partition) const;
  // All partitions, the absent ones too.
  std::vector<WorkerStatus> Status(int64_t now_ms) const;
  size_t observers() const { return observers_.size(); }

 private:
  struct Entry {
    Candidate holder;
    WorkerStatus::State state = WorkerStatus::ABSENT;
    uint64_t fence = 0;
    int64_t heard_ms = 0;
    WorkerReport report;
    std::string reason;
    // Of all attempts at the partition.
    std::optional<WorkerReport> earlier = {};
    std::vector<EndedAttempt> ended = {};
    std::set<AttemptId> turned_away = {};  // the first ones
  };

  static std::string Describe(const Entry& entry);
  WorkerStatus StatusOf(const Entry& entry, int64_t now_ms) const;
  // Keeps what an attempt came to that did not complete its partition.
  void AddEnded(Entry& entry, const std::string& reason);
  // Gives the partition to another attempt.
  Admission Replace(Entry& entry, const Candidate& candidate, int64_t now_ms);
  absl::Status Ended(uint32_t partition, uint64_t fence) const;

  const int64_t lease_ms_;
  uint64_t last_fence_ = 0;
  uint64_t ended_ = 0;  // attempts
  int64_t last_look_ms_ = -1;
  std::vector<Entry> workers_;
  std::map<uint64_t, Entry> observers_;  // by fence
};

}  // namespace downpour::ps
