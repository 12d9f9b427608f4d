// What the transport counts, on any thread. Read without a lock, so that sums may be a moment apart.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "proto/frame.h"

namespace downpour::ps {

struct EdgeStats {
  using Count = std::atomic<uint64_t>;

  Count streams_opened{0};
  Count streams_closed{0};
  Count streams_refused{0};  // ended by the server for what the peer sent
  Count frames_received{0};
  Count frames_sent{0};
  // Of the streams those that agreed on shared memory, and what payload went through it.
  Count shared_opened{0};
  Count shared_closed{0};
  Count shared_received_bytes{0};
  Count shared_sent_bytes{0};
  Count registrations{0};
  Count registrations_refused{0};
  Count registrations_turned_away{0};  // attempts, however often they ask
  Count leases_lost{0};
  // Frames refused before they reached a shard, by Refusal.
  std::array<Count, kRefusalCount> refused{};
};

}  // namespace downpour::ps
