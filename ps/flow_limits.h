// How much may wait at a server. Bytes.
#pragma once

#include <algorithm>
#include <cstdint>

#include "proto/frame.h"
#include "proto/job.pb.h"
#include "proto/shard_map.h"

namespace downpour::ps {

// What one stream may have unacknowledged: enough to keep a link busy, shared among all workers.
inline uint64_t CreditBytes(const Job& job) {
  constexpr uint64_t kMebi = 1 << 20;
  const uint64_t share = 1024 * kMebi / std::max<uint32_t>(1, job.workers());
  return std::max<uint64_t>(MostPayloadBytes(LargestPartBytes(job)), std::min(64 * kMebi, share));
}

// What all workers together may have waiting at one shard; beyond that, somebody opens more streams than
// there are workers.
inline uint64_t QueueLimitBytes(const Job& job) {
  constexpr uint64_t kMebi = 1 << 20;
  const uint64_t credit = CreditBytes(job);
  return std::max(2 * credit, std::min(2048 * kMebi, credit * (job.workers() + 1)));
}

// What fetches may have waiting beyond it. They are small and each stream has few, but a worker whose fetch is refused
// ends: a queue full of gradients, which are sent again, must not do that.
inline uint64_t RoomForPulls(uint64_t queue_limit_bytes) { return queue_limit_bytes / 8; }

}  // namespace downpour::ps
