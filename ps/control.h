// The control plane's logic: who may join, what table the job has, and what everyone is told.
//
// All of it may be called from any thread; calls may wait for shards, which takes as long as their queues.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/job.pb.h"
#include "proto/service.pb.h"
#include "proto/settings.h"
#include "ps/checkpointer.h"
#include "ps/edge_stats.h"
#include "ps/gather.h"
#include "ps/log.h"
#include "ps/membership.h"
#include "ps/shard.h"

namespace downpour::ps {

// What the transport must know to check a frame: where each part lives and how long it is. Never changes.
struct Directory {
  struct Place {
    int32_t shard = -1;  // on this server; -1 where the part is another server's
    uint32_t elements = 0;
  };

  uint32_t map_version = 0;
  uint32_t table = 0;
  uint64_t elements = 0;     // of the table, on all servers
  uint32_t workers = 0;      // of the job
  std::vector<Place> parts;  // by part
  uint32_t parts_here = 0;
};

class Control {
 public:
  using ClockMs = std::function<int64_t()>;

  // Shards, stats and checkpointer outlive it; the last is null where the job keeps no checkpoints. `settings` are those
  // that the shards began with. `clock` never goes back.
  Control(const Job& job, SettingsHistory settings, uint32_t server, std::vector<Shard*> shards,
          EdgeStats* stats, Checkpointer* checkpointer, Log log, ClockMs clock);

  // The calls of ControlService; errors as in service.proto.
  absl::StatusOr<RegisterReply> Register(const RegisterRequest& request);
  absl::StatusOr<HeartbeatReply> Heartbeat(const HeartbeatRequest& request);
  absl::Status Change(const ChangeRequest& request);
  absl::Status Leave(const LeaveRequest& request);
  absl::Status Checkpoint(const CheckpointRequest& request);
  absl::StatusOr<RestoreReply> Restore(const RestoreRequest& request);
  StatusReply Status() const;

  // All parts become what they were in a checkpoint of this folder, the latest that is whole or that of a number. Errors as
  // ControlService's Restore.
  absl::StatusOr<RestoreReply> RestoreFrom(const std::string& folder, std::optional<uint64_t> number);

  // A stream's first frame. FailedPrecondition for another job, Aborted where the fence holds no lease.
  absl::StatusOr<std::shared_ptr<const Directory>> Admit(const FrameHeader& hello) const;

  // Looks for leases that have run out. To be called several times in the least lease.
  void Tick();
  // Registers nobody any more.
  void Drain();
  // Tells all shards that a stream is gone.
  void Hangup(uint64_t stream);

  // Answers of shards; on their threads.
  void Deliver(Created created) { created_.Put(created.ticket, created.ok); }
  void Deliver(const Restored& restored) { restored_.Put(restored.ticket, restored.ok); }
  void Deliver(Report report) {
    const uint64_t ticket = report.ticket;
    reports_.Put(ticket, std::move(report));
  }

  const Job& job() const { return job_; }
  uint32_t server() const { return server_; }
  std::span<Shard* const> shards() const { return shards_; }

 private:
  absl::Status CheckJob(const std::string& name) const;
  // Whether a running job may come to rounds, which wait for everybody.
  absl::Status CheckEverybodyHasCome(const SettingsChange& change) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Whether there is memory for what each worker has, where they no longer go together.
  absl::Status CheckRoomForCopies(const SettingsChange& change) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Makes the tables if this is the first worker, or compares with the first one's.
  absl::Status EnsureTable(const TableSpec& spec);
  // The tables of all shards, cut and dealt so, with table_mutex_ held. `together` as the check of memory had it.
  absl::Status MakeTables(const TableSpec& spec, const ShardMap& map, bool together);
  // Whether anybody may have a lease now.
  absl::Status CheckServes() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Whether a checkpoint is of such a job.
  absl::Status CheckIsOurs(const FoundCheckpoint& found) const;
  // Whether nobody works, and settings were changed here as the checkpoint knows it.
  absl::Status CheckMayRestore(const FoundCheckpoint& found) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status RestoreAll(const FoundCheckpoint& found);
  // The tables for a checkpoint where there are none, or whether those that there are have its parts.
  absl::Status EnsureTableOf(const FoundCheckpoint& found);
  absl::Status GiveBack(const FoundCheckpoint& found);
  absl::StatusOr<RegisterReply> RegisterChecked(const RegisterRequest& request);
  // Of an attempt that gets no lease, for another has the partition.
  void LogTurnedAway(const Candidate& candidate, const WorkerStatus& holder) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void LogLost(const std::vector<std::pair<LostWorker, uint64_t>>& lost);

  // Constant after construction.
  const Job job_;
  const uint32_t server_;
  const std::vector<Shard*> shards_;
  EdgeStats* const stats_;
  Checkpointer* const checkpointer_;
  const Log log_;
  const ClockMs clock_;

  Gather<bool> created_;
  Gather<Report> reports_;
  Gather<bool> restored_;

  // Held while tables are made, which waits for shards; taken before mutex_.
  std::mutex table_mutex_;

  mutable std::mutex mutex_;
  Membership membership_ ABSL_GUARDED_BY(mutex_);
  SettingsHistory settings_ ABSL_GUARDED_BY(mutex_);  // as every shard has it
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  bool restoring_ ABSL_GUARDED_BY(mutex_) = false;
  std::string broken_ ABSL_GUARDED_BY(mutex_);  // why a restore broke off, until one has succeeded
  TableSpec table_ ABSL_GUARDED_BY(mutex_);  // no elements until a worker has come
  ShardMap map_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<const Directory> directory_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace downpour::ps
