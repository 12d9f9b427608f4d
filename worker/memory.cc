#include "worker/memory.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "kernels/optimizer/update_rule.h"
#include "worker/data/batcher.h"

namespace downpour::worker {
namespace {

// Threads, the allocator's slack, the device's scratch, frames on their way.
constexpr std::uint64_t kAllowance = std::uint64_t{32} << 20;
// One chunk of a RowStore, with room for labels.
constexpr std::uint64_t kLeastRows = std::uint64_t{8} << 20;

std::uint64_t OptimizerSlots(const Job& job) {
  const auto rule = kernels::FindUpdateRule(job.optimizer().name());
  return rule.ok() ? (*rule)->slots : 0;
}

}  // namespace

MemoryPlan PlanMemory(const Job& job, const SyncMode& mode, const MemoryNeeds& needs,
                      std::optional<std::uint64_t> granted) {
  const std::uint64_t slots = OptimizerSlots(job);
  // Gradients: those that are not acknowledged, one that accrues, one that the transport still holds; a step's own.
  std::uint64_t vectors = std::max<std::uint64_t>(job.sync().max_pushes_in_flight(), 1) + 3;
  // Parameters that are being fetched, and the frames in which they come.
  vectors += 2;
  // Where it pushes for its host: sums, and what they are encoded to, of a push under way and the one after it.
  if (job.wire().combine() == "host") vectors += 4;
  // A worker that steps by itself: its parameters, the optimizer's slots, scratch.
  if (mode.content != PushContent::kGradient) vectors += 2 + slots;
  std::uint64_t elements = vectors * needs.elements;
  if (mode.peers) {
    // Its share of the parameters, with slots, a sum, a snapshot and its copy; and what all workers have pushed to it.
    elements += (4 + slots) * needs.elements / std::max<std::uint64_t>(job.workers(), 1) + needs.elements;
  }
  // Batches to train on, and of rows that are held out.
  const int batch = static_cast<int>(job.training().batch());
  const int threads = std::max(1, static_cast<int>(job.data().transforms().threads()));
  const std::uint64_t batches =
      Batcher::BufferBytes(needs.net_values, batch, threads) + Batcher::BufferBytes(needs.net_values, batch, 1);
  MemoryPlan plan{.resident = needs.resident,
                  .training = elements * sizeof(float) + batches + kAllowance,
                  .rows = job.worker().feed_memory_bytes()};
  if (granted) plan.rows = std::max(*granted - std::min(*granted, plan.resident + plan.training), kLeastRows);
  return plan;
}

std::uint64_t ResidentBytes() {
  std::uint64_t size = 0;
  std::uint64_t resident = 0;
  std::ifstream("/proc/self/statm") >> size >> resident;
  return resident * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
}

}  // namespace downpour::worker
