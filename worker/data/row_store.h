// Rows of one width: as many in memory as may be there, the others in a file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/data/spool_file.h"

namespace downpour::worker {

// How much a worker keeps of its samples, and where.
struct StoreLimits {
  // In memory and spool file together: worker.feed_limit_bytes.
  std::uint64_t total_bytes = std::numeric_limits<std::uint64_t>::max();
  // Of these in memory: worker.feed_memory_bytes, or what a launcher grants.
  std::uint64_t memory_bytes = std::numeric_limits<std::uint64_t>::max();
  // The folder of the spool file, which is made when it is needed.
  std::string spool_dir = {};
};

// Owns its rows, in the order in which they came, in chunks of some MiB that never move: growing copies nothing, and a
// chunk that has no room in memory goes to the spool file as it is. The chunk that is being filled is always in memory.
// One thread fills it; after that any may read.
class RowStore {
 public:
  // Rows that lie together in memory.
  struct Run {
    std::byte* bytes = nullptr;
    std::size_t rows = 0;
  };

  // `limits.total_bytes` is the owner's to watch.
  RowStore(std::size_t row_bytes, const StoreLimits& limits);

  // Adds rows: at least one, at most `rows`, whose bytes the caller writes before the next call. What the owner keeps
  // in memory beside the rows, `beside_bytes`, counts as theirs. Fails with kResourceExhausted where there is no memory or
  // the disk is full, kFailedPrecondition where there can be no spool file, kDataLoss where it can't be written.
  absl::StatusOr<Run> Add(std::size_t rows, std::uint64_t beside_bytes);

  // The bytes of a row: where they are, or in `scratch`, row_bytes() long, into which they are read. Allocates nothing.
  // Fails with kDataLoss.
  absl::StatusOr<const std::byte*> Read(std::size_t row, std::span<std::byte> scratch) const;

  // Says that a row will be read soon; does not wait.
  void Prefetch(std::size_t row) const;

  std::size_t row_bytes() const { return row_bytes_; }
  std::size_t size() const { return size_; }
  // What the rows take.
  std::uint64_t memory_bytes() const { return chunks_in_memory_ * chunk_bytes_; }
  std::uint64_t spooled_bytes() const { return spool_ ? spool_->size() : 0; }

 private:
  struct Free {
    void operator()(std::byte* p) const { std::free(p); }
  };
  struct Chunk {
    std::unique_ptr<std::byte, Free> memory;  // null once it is in the spool file
    std::uint64_t offset = 0;                 // there
  };

  absl::Status AddChunk(std::uint64_t beside_bytes);
  // Moves the last chunk that is in memory to the spool file, and gives its memory.
  absl::StatusOr<std::unique_ptr<std::byte, Free>> Spill();

  // Constant after construction.
  std::size_t row_bytes_;
  std::size_t chunk_rows_;
  std::size_t chunk_bytes_;
  std::uint64_t memory_limit_bytes_;
  std::string spool_dir_;

  std::vector<Chunk> chunks_;
  std::size_t chunks_in_memory_ = 0;
  std::size_t size_ = 0;
  std::optional<SpoolFile> spool_;
};

}  // namespace downpour::worker
