// A worker's samples, in memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"

namespace downpour::worker {

// The type in which feature values are kept, which is the one they came in.
enum class FeatureType { kU8, kF32 };

std::size_t SizeOf(FeatureType type);

// What stands beside a row's features.
struct LabelLayout {
  bool numbers = false;   // a label is a number; otherwise a class, from 0
  bool weighted = false;  // each row has a weight

  std::size_t row_bytes() const { return 4 + (weighted ? 4 : 0); }
};

// Rows of `sample_size` features, a label and perhaps a weight, in the order of arrival. Owns their memory, in chunks
// that never move, so that growing copies nothing. One thread fills it; after that any may read.
class SampleStore {
 public:
  // Rows that lie together in memory.
  struct Run {
    std::byte* features = nullptr;
    std::size_t rows = 0;
  };

  // `limit_bytes` bounds all that a row has.
  SampleStore(FeatureType type, std::size_t sample_size, std::uint64_t limit_bytes, LabelLayout layout = {});

  // Adds `rows` whose values the caller then writes, through FeatureRun and the mutable spans. Fails with
  // kResourceExhausted, and adds none, where that would pass the limit, of which `elsewhere` bytes are used elsewhere.
  absl::Status Append(std::size_t rows, std::uint64_t elsewhere = 0);

  // The rows from `first` on that lie together: at least one, at most `rows`. first + rows must not pass
  // size().
  Run FeatureRun(std::size_t first, std::size_t rows);

  // Classes; none where labels are numbers.
  std::span<std::int32_t> mutable_labels() { return labels_; }
  std::span<const std::int32_t> labels() const { return labels_; }
  // None where labels are classes.
  std::span<float> mutable_numbers() { return numbers_; }
  std::span<const float> numbers() const { return numbers_; }
  // None where no row has one.
  std::span<float> mutable_weights() { return weights_; }
  std::span<const float> weights() const { return weights_; }

  // The values of one row: row_bytes() bytes, of type().
  const std::byte* features(std::size_t row) const {
    return chunks_[row >> chunk_shift_].get() + (row & chunk_mask_) * row_bytes_;
  }

  FeatureType type() const { return type_; }
  const LabelLayout& layout() const { return layout_; }
  std::size_t size() const { return rows_; }
  std::size_t sample_size() const { return sample_size_; }
  std::size_t row_bytes() const { return row_bytes_; }
  // Of all rows.
  std::uint64_t bytes() const { return size() * (row_bytes_ + layout_.row_bytes()); }

 private:
  struct Free {
    void operator()(std::byte* p) const { std::free(p); }
  };

  // Constant after construction.
  FeatureType type_;
  std::size_t sample_size_;
  std::size_t row_bytes_;
  std::uint64_t limit_bytes_;
  LabelLayout layout_;
  int chunk_shift_;  // a chunk holds 1 << chunk_shift_ rows
  std::size_t chunk_mask_;

  std::vector<std::unique_ptr<std::byte, Free>> chunks_;
  std::size_t rows_ = 0;
  std::vector<std::int32_t> labels_;
  std::vector<float> numbers_;
  std::vector<float> weights_;
};

// What one worker has.
struct PartitionSamples {
  SampleStore train;
  SampleStore held_out;  // not trained on
};

}  // namespace downpour::worker
