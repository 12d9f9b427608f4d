// What this machine's shards take for their work on a part, for ServerTimes.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "bench/simulation/settings.h"

namespace downpour::bench {

// The best of several, with one real shard core whose optimizer is sgd, and parts of so many floats. What is said of
// frames stays as in `times`: it is the transport's and the threads', which are not here.
absl::StatusOr<ServerTimes> MeasureServerTimes(std::uint32_t part_floats, ServerTimes times);

}  // namespace downpour::bench
