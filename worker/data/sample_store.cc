#include "worker/data/sample_store.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "absl/strings/str_cat.h"

namespace downpour::worker {
namespace {

constexpr std::size_t kChunkBytes = std::size_t{4} << 20;
constexpr std::size_t kAlignment = 64;
// Orders of samples are kept as 32-bit numbers.
constexpr std::uint64_t kMaxRows = std::numeric_limits<std::uint32_t>::max();

int ChunkShift(std::size_t row_bytes) {
  return std::bit_width(std::max<std::size_t>(kChunkBytes / std::max<std::size_t>(row_bytes, 1), 1)) - 1;
}

}  // namespace

std::size_t SizeOf(FeatureType type) { return type == FeatureType::kU8 ? 1 : sizeof(float); }

SampleStore::SampleStore(FeatureType type, std::size_t sample_size, std::uint64_t limit_bytes, LabelLayout layout)
    : type_(type),
      sample_size_(sample_size),
      row_bytes_(sample_size * SizeOf(type)),
      limit_bytes_(limit_bytes),
      layout_(layout),
      chunk_shift_(ChunkShift(row_bytes_)),
      chunk_mask_((std::size_t{1} << chunk_shift_) - 1) {}

absl::Status SampleStore::Append(std::size_t rows, std::uint64_t elsewhere) {
  const std::uint64_t bytes_a_row = row_bytes_ + layout_.row_bytes();
  const std::uint64_t most_rows = (limit_bytes_ - std::min(elsewhere, limit_bytes_)) / bytes_a_row;
  if (rows > most_rows || size() + rows > most_rows) {
    return absl::ResourceExhaustedError(absl::StrCat(
        size(), " samples and ", rows, " more, of ", bytes_a_row, " bytes each, pass the limit of ",
        limit_bytes_, " bytes; raise worker.feed_limit_bytes, use more workers, or set data.limit"));
  }
  if (rows > kMaxRows - size()) {
    return absl::ResourceExhaustedError(
        absl::StrCat("more than ", kMaxRows, " samples in one worker; use more workers"));
  }
  const std::size_t chunk_rows = chunk_mask_ + 1;
  const std::size_t chunks_needed = (size() + rows + chunk_mask_) >> chunk_shift_;
  const std::size_t chunk_bytes = (chunk_rows * row_bytes_ + kAlignment - 1) / kAlignment * kAlignment;
  while (chunks_.size() < chunks_needed) {
    auto* chunk = static_cast<std::byte*>(std::aligned_alloc(kAlignment, chunk_bytes));
    if (chunk == nullptr) {
      return absl::ResourceExhaustedError(
          absl::StrCat("out of memory after ", size(), " samples, ", bytes(), " bytes; use more workers"));
    }
    chunks_.emplace_back(chunk);
  }
  rows_ += rows;
  if (layout_.numbers) {
    numbers_.resize(rows_);
  } else {
    labels_.resize(rows_);
  }
  if (layout_.weighted) weights_.resize(rows_);
  return absl::OkStatus();
}

SampleStore::Run SampleStore::FeatureRun(std::size_t first, std::size_t rows) {
  const std::size_t within = first & chunk_mask_;
  return {chunks_[first >> chunk_shift_].get() + within * row_bytes_,
          std::min(rows, chunk_mask_ + 1 - within)};
}

}  // namespace downpour::worker
