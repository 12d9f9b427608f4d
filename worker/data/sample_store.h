// A worker's samples.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/data/row_store.h"

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

// Rows of `sample_size` features, a label and perhaps a weight, in the order of arrival. Labels and weights are in memory,
// features where a RowStore puts them. One thread fills it; after that any may read.
class SampleStore {
 public:
  SampleStore(FeatureType type, std::size_t sample_size, const StoreLimits& limits, LabelLayout layout = {});

  // Adds `rows` whose values the caller then writes, through AddFeatures and the mutable spans. Fails with
  // kResourceExhausted, and adds none, where that would pass limits.total_bytes. What `other` has, here and in AddFeatures,
  // counts against the same limits.
  absl::Status Append(std::size_t rows, const SampleStore* other = nullptr);

  // Where the features of the next rows go: at least one, at most `rows`, to be written before the next call. No more
  // than were appended. Fails as RowStore::Add.
  absl::StatusOr<RowStore::Run> AddFeatures(std::size_t rows, const SampleStore* other = nullptr);

  // Classes; none where labels are numbers.
  std::span<std::int32_t> mutable_labels() { return labels_; }
  std::span<const std::int32_t> labels() const { return labels_; }
  // None where labels are classes.
  std::span<float> mutable_numbers() { return numbers_; }
  std::span<const float> numbers() const { return numbers_; }
  // None where no row has one.
  std::span<float> mutable_weights() { return weights_; }
  std::span<const float> weights() const { return weights_; }

  // The features: rows of row_bytes() bytes, of values of type().
  const RowStore& features() const { return features_; }

  FeatureType type() const { return type_; }
  const LabelLayout& layout() const { return layout_; }
  std::size_t size() const { return rows_; }
  std::size_t sample_size() const { return sample_size_; }
  std::size_t row_bytes() const { return features_.row_bytes(); }
  // Of all rows, of what is in memory, and of what is in the spool file. Memory counts as it is taken, in whole chunks, with
  // a Batcher's order of the rows.
  std::uint64_t bytes() const { return size() * (row_bytes() + layout_.row_bytes()); }
  std::uint64_t memory_bytes() const { return features_.memory_bytes() + beside_bytes(); }
  std::uint64_t spooled_bytes() const { return features_.spooled_bytes(); }

 private:
  // What is in memory for each row wherever its features are.
  std::uint64_t beside_bytes() const {
    return 4 * (labels_.capacity() + numbers_.capacity() + weights_.capacity()) + size() * sizeof(std::uint32_t);
  }

  // Constant after construction.
  FeatureType type_;
  std::size_t sample_size_;
  StoreLimits limits_;
  LabelLayout layout_;

  RowStore features_;
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
