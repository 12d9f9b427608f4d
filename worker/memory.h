// How much memory a worker takes, and how much of that its rows may have.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "proto/job.pb.h"
#include "proto/sync/mode.h"

namespace downpour::worker {

// In bytes. A bound, not a measurement: what is made as it is needed may stay smaller.
struct MemoryPlan {
  std::uint64_t resident = 0;  // there before the data is: the program, the net and its activations, parameters
  std::uint64_t training = 0;  // what training adds: gradients, parameters on their way, the optimizer's, batches
  std::uint64_t rows = 0;      // what rows may take in memory; the others are spooled

  std::uint64_t bound() const { return resident + training + rows; }
};

// What the job needs to be known by, of the net and of the process once it has registered.
struct MemoryNeeds {
  std::size_t net_values = 0;   // of a sample, as the net takes it
  std::uint64_t elements = 0;  // of the vector that is exchanged
  std::uint64_t resident = 0;  // ResidentBytes()
};

// `granted` is what the launcher lets the whole process have: rows get what the rest leaves of it, or the least that
// there must be. Without it they get worker.feed_memory_bytes.
MemoryPlan PlanMemory(const Job& job, const SyncMode& mode, const MemoryNeeds& needs,
                      std::optional<std::uint64_t> granted);

// Memory of this process that is in use now; 0 where /proc does not say.
std::uint64_t ResidentBytes();

}  // namespace downpour::worker
