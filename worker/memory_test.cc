#include "worker/memory.h"

#include <catch2/catch.hpp>
#include <vector>

namespace downpour::worker {
namespace {

constexpr std::uint64_t kMiB = 1 << 20;
constexpr std::uint64_t kElements = 1'000'000;
const MemoryNeeds kNeeds{.net_values = 1000, .elements = kElements, .resident = 50 * kMiB};

Job SmallJob() {
  Job job;
  job.set_workers(4);
  job.mutable_training()->set_batch(100);
  job.mutable_worker()->set_feed_memory_bytes(300 * kMiB);
  job.mutable_optimizer()->set_name("adam");
  return job;
}

// Vectors of the parameters' size that training adds.
std::uint64_t Vectors(const Job& job, const SyncMode& mode) {
  const std::uint64_t batches = (3 + 3) * 100 * (1000 + 4) * sizeof(float);
  const std::uint64_t rest = PlanMemory(job, mode, kNeeds, std::nullopt).training - batches - 32 * kMiB;
  REQUIRE(rest % (kElements * sizeof(float)) == 0);
  return rest / (kElements * sizeof(float));
}

TEST_CASE("what training adds is counted in vectors of the parameters' size") {
  Job job = SmallJob();
  CHECK(Vectors(job, kBsp) == 1 + 3 + 2);
  CHECK(Vectors(job, kLocalSgd) == 1 + 3 + 2 + 2 + 2);     // adam's two slots
  job.set_workers(3);
  CHECK(Vectors(job, kPeer) == 1 + 3 + 2 + 6 / 3 + 1);     // a third of the parameters, thus
  job.mutable_sync()->set_max_pushes_in_flight(7);
  CHECK(Vectors(job, kDownpour) == 7 + 3 + 2);
}

TEST_CASE("rows get what is left of what was granted, and the job's own share without") {
  const Job job = SmallJob();
  const MemoryPlan own = PlanMemory(job, kBsp, kNeeds, std::nullopt);
  CHECK(own.rows == 300 * kMiB);
  CHECK(own.resident == 50 * kMiB);
  CHECK(own.bound() == own.resident + own.training + own.rows);
  const MemoryPlan granted = PlanMemory(job, kBsp, kNeeds, 1000 * kMiB);
  CHECK(granted.training == own.training);
  CHECK(granted.bound() == 1000 * kMiB);
  const MemoryPlan too_little = PlanMemory(job, kBsp, kNeeds, 60 * kMiB);
  CHECK(too_little.rows == 8 * kMiB);
  CHECK(too_little.bound() > 60 * kMiB);
}

TEST_CASE("what is touched becomes resident") {
  const std::uint64_t before = ResidentBytes();
  CHECK(before > 0);
  const std::vector<char> touched(64 * kMiB, 1);
  CHECK(ResidentBytes() >= before + 60 * kMiB);
  CHECK(touched.back() == 1);
}

}  // namespace
}  // namespace downpour::worker
