// What each epoch came to, of the partition that one worker trains.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "worker/evaluation.h"

namespace downpour::worker {

struct EpochResult {
  Evaluation train;     // of the batches, each with the parameters of its step; no weight where nothing was seen
  Evaluation held_out;  // of the samples that are not trained on, at its end; no weight without
};

// Positions count samples over all epochs. Allocates at construction alone. One thread.
class EpochHistory {
 public:
  static constexpr std::size_t kMost = 1000;  // epochs that are kept, the first ones

  EpochHistory(std::uint64_t partition_samples, std::uint32_t epochs);

  // A batch that ends at `position`; within one epoch. One whose loss is not finite does not count.
  void Add(std::uint64_t position, const Evaluation& batch);
  void SetHeldOut(std::uint64_t position, const Evaluation& held_out);

  // From the first epoch to the last that was begun.
  std::span<const EpochResult> results() const { return {results_.data(), begun_}; }

 private:
  // Of the epoch in which `position` ends; null for one that is not kept.
  EpochResult* At(std::uint64_t position);

  std::uint64_t partition_samples_;
  std::vector<EpochResult> results_;
  std::size_t begun_ = 0;
};

}  // namespace downpour::worker
