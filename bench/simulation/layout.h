// Where the parameters lie: the shard map of the full model, and what stands for it in the servers' tables.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "bench/simulation/settings.h"
#include "proto/frame.h"
#include "proto/job.pb.h"
#include "proto/payload.h"
#include "ps/control.h"
#include "ps/event.h"

namespace downpour::bench {

struct PartLayout {
  std::uint32_t server = 0;
  std::uint32_t shard = 0;  // of that server
  ps::PartRange range;      // in the servers' tables
  double float_bytes = 0;   // of the full part in float32
};

// A value that does not change while a simulation runs.
struct Layout {
  Layout(const SimulationSettings& settings, const Job& job);

  // Floats that stand for a part.
  std::uint32_t elements(std::uint32_t part) const {
    return static_cast<std::uint32_t>(parts[part].range.end - parts[part].range.begin);
  }
  // Of a frame on the link, its header included.
  std::uint64_t LinkBytes(const Message& message) const;
  // What a server's edge checks frames against.
  std::shared_ptr<const ps::Directory> DirectoryOf(std::uint32_t server) const;

  std::vector<PartLayout> parts;
  std::uint64_t credit_bytes = 0;       // of a stream, in bytes of the servers' tables
  std::uint64_t queue_limit_bytes = 0;  // of a shard, in bytes of the full model
  double push_bytes = 4;                // of a parameter on the wire
  double pull_bytes = 4;
};

}  // namespace downpour::bench
