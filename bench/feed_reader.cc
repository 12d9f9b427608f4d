// A worker's feed reader without the worker, for `bench/feed`: takes ps-worker's flags, reads the feed and says `loaded` and
// `done`. With --ring-fd features come through shared memory instead, as bytes that are to be floats: whoever feeds fills
// the ring's slots in turn and writes the bytes' number (u32) to the feed for each; a byte to --credit-fd gives a slot back.
#include <sys/mman.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <optional>
#include <string>
#include <utility>

#include <CLI/CLI.hpp>

#include "kernels/vector_ops.h"
#include "proto/job_config.h"
#include "worker/data/feed.h"

namespace {

using downpour::worker::FeatureType;
using downpour::worker::SampleStore;

constexpr std::size_t kSlots = 4;
constexpr std::size_t kSlotBytes = std::size_t{4} << 20;

struct Ring {
  int feed_fd = -1;
  int ring_fd = -1;
  int credit_fd = -1;
};

// Copied before it is looked at, as has to be with memory that somebody else may write to.
absl::Status CopySlot(const std::byte* slot, std::size_t rows, SampleStore* store) {
  if (absl::Status status = store->Append(rows); !status.ok()) return status;
  for (std::size_t done = 0; done < rows;) {
    const auto run = store->AddFeatures(rows - done);
    if (!run.ok()) return run.status();
    const std::size_t bytes = run->rows * store->row_bytes();
    std::memcpy(run->bytes, slot + done * store->row_bytes(), bytes);
    if (!downpour::kernels::AllFinite({reinterpret_cast<const float*>(run->bytes), bytes / sizeof(float)})) {
      return absl::InvalidArgumentError("a value is not finite");
    }
    done += run->rows;
  }
  return absl::OkStatus();
}

absl::StatusOr<SampleStore> ReadRing(const Ring& ring, std::size_t sample_size,
                                     const downpour::worker::StoreLimits& limits) {
  void* const slots = mmap(nullptr, kSlots * kSlotBytes, PROT_READ, MAP_SHARED, ring.ring_fd, 0);
  if (slots == MAP_FAILED) return absl::InternalError("the ring cannot be mapped");
  SampleStore store(FeatureType::kF32, sample_size, limits);
  for (std::size_t slot = 0;; slot = (slot + 1) % kSlots) {
    std::uint32_t bytes = 0;
    if (read(ring.feed_fd, &bytes, sizeof(bytes)) != sizeof(bytes)) return store;
    if (bytes > kSlotBytes) return absl::InvalidArgumentError("more bytes than a slot has");
    const absl::Status status =
        CopySlot(static_cast<const std::byte*>(slots) + slot * kSlotBytes, bytes / store.row_bytes(), &store);
    if (!status.ok()) return status;
    if (write(ring.credit_fd, "", 1) != 1) return absl::AbortedError("nobody feeds any more");
  }
}

absl::StatusOr<SampleStore> ReadPipe(int feed_fd, std::size_t sample_size, const downpour::worker::StoreLimits& limits) {
  auto samples =
      downpour::worker::ReadFeed(feed_fd, {.sample_size = sample_size, .classes = 10, .limits = limits});
  if (!samples.ok()) return samples.status();
  return std::move(samples->train);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App cli("Reads a feed as ps-worker does, and trains nothing", "feed_reader");
  cli.allow_extras();
  std::string config;
  Ring ring;
  cli.add_option("--config", config)->required();
  cli.add_option("--feed-fd", ring.feed_fd)->required();
  cli.add_option("--ring-fd", ring.ring_fd);
  cli.add_option("--credit-fd", ring.credit_fd);
  CLI11_PARSE(cli, argc, argv);
  const auto job = downpour::LoadJob(config);
  if (!job.ok()) {
    std::cerr << job.status().message() << "\n";
    return 64;
  }
  std::size_t sample_size = 1;
  for (const std::uint32_t side : job->data().shape()) sample_size *= side;
  const downpour::worker::StoreLimits limits{.total_bytes = job->worker().feed_limit_bytes(),
                                             .memory_bytes = job->worker().feed_memory_bytes(),
                                             .spool_dir = job->worker().spool_dir()};
  const auto store = ring.ring_fd >= 0 ? ReadRing(ring, sample_size, limits) : ReadPipe(ring.feed_fd, sample_size, limits);
  if (!store.ok()) {
    std::cerr << store.status().message() << "\n";
    return 65;
  }
  std::printf("{\"event\": \"loaded\", \"samples\": %zu, \"spooled_bytes\": %llu}\n{\"event\": \"done\"}\n", store->size(),
              static_cast<unsigned long long>(store->spooled_bytes()));
  std::fflush(stdout);
  std::_Exit(0);
}
