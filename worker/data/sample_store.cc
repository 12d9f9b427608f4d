#include "worker/data/sample_store.h"

#include <limits>

#include "absl/strings/str_cat.h"

namespace downpour::worker {
namespace {

// Orders of samples are kept as 32-bit numbers.
constexpr std::uint64_t kMaxRows = std::numeric_limits<std::uint32_t>::max();

}  // namespace

std::size_t SizeOf(FeatureType type) { return type == FeatureType::kU8 ? 1 : sizeof(float); }

SampleStore::SampleStore(FeatureType type, std::size_t sample_size, const StoreLimits& limits, LabelLayout layout)
    : type_(type),
      sample_size_(sample_size),
      limits_(limits),
      layout_(layout),
      features_(sample_size * SizeOf(type), limits) {}

absl::Status SampleStore::Append(std::size_t rows, const SampleStore* other) {
  const std::uint64_t bytes_a_row = row_bytes() + layout_.row_bytes();
  const std::uint64_t elsewhere = other == nullptr ? 0 : std::min(other->bytes(), limits_.total_bytes);
  const std::uint64_t most_rows = (limits_.total_bytes - elsewhere) / bytes_a_row;
  if (rows > most_rows || size() + rows > most_rows) {
    return absl::ResourceExhaustedError(absl::StrCat(
        size(), " samples and ", rows, " more, of ", bytes_a_row, " bytes each, pass the limit of ", limits_.total_bytes,
        " bytes for memory (", limits_.memory_bytes, " by worker.feed_memory_bytes) and spool file together; raise"
        " worker.feed_limit_bytes, use more workers, or set data.limit"));
  }
  if (rows > kMaxRows - size()) {
    return absl::ResourceExhaustedError(
        absl::StrCat("more than ", kMaxRows, " samples in one worker; use more workers"));
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

absl::StatusOr<RowStore::Run> SampleStore::AddFeatures(std::size_t rows, const SampleStore* other) {
  return features_.Add(rows, beside_bytes() + (other == nullptr ? 0 : other->memory_bytes()));
}

}  // namespace downpour::worker
