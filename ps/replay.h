// Handles a recorded run's events again, and so has its parameters again, to the bit, however many servers and shards
// its parts are dealt to now.
//
// The parts keep their cuts and are dealt to new owners in turn. Of each recorded shard, each new owner makes a core
// of its own and gives it, in the order of that shard's log, the frames of the parts that it now owns, and every
// event that is about no part: joins, leaves, changes of settings, hangups, ticks, the end. This is right because
// what a core does with a part depends on nothing but that part's frames and on the events about no part, in their
// order: so a part sees here exactly what it saw there. Shards of two logs are never merged into one core. They
// could not be: each server numbers its own fences, and shards of two servers see joins, leaves and time in
// different orders, where no single order would be true for both.
//
// If that dependency is ever broken (one part's frames change another part), a replay with more shards than were
// recorded shows it: the bits differ.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/job.pb.h"
#include "ps/event_log.h"
#include "ps/replay.pb.h"

namespace downpour::ps {

// The logs of all shards of a run.
struct Recording {
  Job job;
  uint32_t servers = 0;
  uint32_t shards = 0;            // of each
  std::vector<std::string> logs;  // paths, by server, then shard
};

// NotFound: the folder has no recording, or a shard's log is missing. InvalidArgument, FailedPrecondition: logs that
// don't belong together, or a job that makes no sense. Otherwise as EventLogReader::Open.
absl::StatusOr<Recording> OpenRecording(const std::string& folder);

struct ReplayOptions {
  uint32_t servers = 1;
  uint32_t shards = 1;                  // of each
  std::optional<uint32_t> only_server;  // what is dealt to this one; all where it is not said
  std::vector<uint64_t> until;          // by log, the last event to handle; empty for all
  uint32_t threads = 1;                 // at most so many logs at once
};

// A log that is torn or broken off is replayed as far as it goes, and says so. DataLoss: a log is damaged.
// ResourceExhausted: more parameters than the job's memory limit, or than there is memory.
absl::StatusOr<Replayed> Replay(const Recording& recording, const ReplayOptions& options);

// A record's time by the wall's clock.
int64_t UnixUs(const EventLogHeader& header, const LogRecord& record);

}  // namespace downpour::ps
