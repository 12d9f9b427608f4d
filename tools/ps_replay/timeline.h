// The events of a recording, one a line, in the order of time: what came, from whom, and what the shard decided. This
// is what one reads when hunting an asynchronous bug.
#pragma once

#include <cstdint>
#include <ostream>
#include <vector>

#include "absl/status/status.h"
#include "ps/replay.h"

namespace downpour::replay {

struct TimelineOptions {
  std::vector<uint64_t> until;  // by log, the last event; empty for all
  bool json = false;            // an object a line instead of columns
};

// Handles each shard's events again, in a core for each as there was, for the decisions are not in the logs. Events of
// different shards are put in order by their servers' clocks. Ticks that changed nothing are left out. Errors as
// ps::Replay(), after the lines up to there.
absl::Status PrintTimeline(const ps::Recording& recording, const TimelineOptions& options, std::ostream& out);

}  // namespace downpour::replay
