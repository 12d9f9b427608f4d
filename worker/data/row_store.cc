#include "worker/data/row_store.h"

#include <sys/mman.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace downpour::worker {
namespace {

constexpr std::size_t kChunkBytes = std::size_t{4} << 20;
// Large pages: a page fault for each 4 KiB costs more than the copy.
constexpr std::size_t kPageBytes = std::size_t{2} << 20;

}  // namespace

RowStore::RowStore(std::size_t row_bytes, const StoreLimits& limits)
    : row_bytes_(row_bytes),
      chunk_rows_(std::max<std::size_t>(kChunkBytes / std::max<std::size_t>(row_bytes, 1), 1)),
      chunk_bytes_((chunk_rows_ * row_bytes + kPageBytes - 1) / kPageBytes * kPageBytes),
      memory_limit_bytes_(limits.memory_bytes),
      spool_dir_(limits.spool_dir) {}

absl::StatusOr<RowStore::Run> RowStore::Add(std::size_t rows, std::uint64_t beside_bytes) {
  const std::size_t within = size_ % chunk_rows_;
  if (within == 0) {
    if (absl::Status status = AddChunk(beside_bytes); !status.ok()) return status;
  }
  const Run run{chunks_.back().memory.get() + within * row_bytes_, std::min(rows, chunk_rows_ - within)};
  size_ += run.rows;
  return run;
}

absl::Status RowStore::AddChunk(std::uint64_t beside_bytes) {
  std::unique_ptr<std::byte, Free> memory;
  const std::uint64_t limit = memory_limit_bytes_ - std::min(memory_limit_bytes_, beside_bytes);
  while (chunks_in_memory_ > 0 && chunks_in_memory_ + 1 > limit / chunk_bytes_) {
    auto spilled = Spill();
    if (!spilled.ok()) return spilled.status();
    memory = *std::move(spilled);
  }
  if (memory == nullptr) {
    memory.reset(static_cast<std::byte*>(std::aligned_alloc(kPageBytes, chunk_bytes_)));
    if (memory == nullptr) {
      return absl::ResourceExhaustedError(absl::StrCat("out of memory after ", size_, " samples, ", memory_bytes(),
                                                       " bytes; lower worker.feed_memory_bytes"));
    }
    madvise(memory.get(), chunk_bytes_, MADV_HUGEPAGE);
  }
  chunks_.push_back({.memory = std::move(memory)});
  ++chunks_in_memory_;
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<std::byte, RowStore::Free>> RowStore::Spill() {
  const auto failed = [](const absl::Status& status) {
    return absl::Status(status.code(), absl::StrCat(status.message(),
                                                    "; choose another folder by worker.spool_dir, raise"
                                                    " worker.feed_memory_bytes, or use more workers"));
  };
  if (!spool_) {
    auto made = SpoolFile::Create(spool_dir_);
    if (!made.ok()) return failed(made.status());
    spool_ = *std::move(made);
  }
  const auto last =
      std::find_if(chunks_.rbegin(), chunks_.rend(), [](const Chunk& chunk) { return chunk.memory != nullptr; });
  last->offset = spool_->size();
  const absl::Status status = spool_->Append({last->memory.get(), chunk_rows_ * row_bytes_});
  if (!status.ok()) return failed(status);
  --chunks_in_memory_;
  return std::move(last->memory);
}

absl::StatusOr<const std::byte*> RowStore::Read(std::size_t row, std::span<std::byte> scratch) const {
  const Chunk& chunk = chunks_[row / chunk_rows_];
  const std::size_t at = row % chunk_rows_ * row_bytes_;
  if (chunk.memory != nullptr) return chunk.memory.get() + at;
  const absl::Status status = spool_->Read(chunk.offset + at, scratch);
  if (!status.ok()) return status;
  return scratch.data();
}

void RowStore::Prefetch(std::size_t row) const {
  const Chunk& chunk = chunks_[row / chunk_rows_];
  if (chunk.memory == nullptr) spool_->Prefetch(chunk.offset + row % chunk_rows_ * row_bytes_, row_bytes_);
}

}  // namespace downpour::worker
