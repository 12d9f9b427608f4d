#include "worker/epoch_history.h"

#include <algorithm>
#include <cmath>

namespace downpour::worker {

EpochHistory::EpochHistory(std::uint64_t partition_samples, std::uint32_t epochs)
    : partition_samples_(partition_samples),
      results_(partition_samples == 0 ? 0 : std::min<std::size_t>(epochs, kMost)) {}

EpochResult* EpochHistory::At(std::uint64_t position) {
  if (partition_samples_ == 0) return nullptr;
  const std::uint64_t epoch = (position - 1) / partition_samples_;
  if (epoch >= results_.size()) return nullptr;
  begun_ = std::max<std::size_t>(begun_, epoch + 1);
  return &results_[epoch];
}

void EpochHistory::Add(std::uint64_t position, const Evaluation& batch) {
  EpochResult* const result = At(position);
  if (result != nullptr && std::isfinite(batch.loss_sum)) result->train.Add(batch);
}

void EpochHistory::SetHeldOut(std::uint64_t position, const Evaluation& held_out) {
  if (EpochResult* const result = At(position)) result->held_out = held_out;
}

}  // namespace downpour::worker
