// A worker's own copy of the parameters, in the modes in which it steps by itself.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "absl/status/statusor.h"
#include "kernels/aligned_buffer.h"
#include "kernels/optimizer/update_rule.h"
#include "proto/job.pb.h"

namespace downpour::worker {

// How many vectors as long as the parameters a job's workers and servers exchange: one, or where the optimizer's slots
// are averaged too, those as well, one after the other behind the parameters. InvalidArgument: no such optimizer.
absl::StatusOr<uint32_t> ExchangedVectors(const Job& job);

// The parameters and the slots of the job's optimizer, one vector after the other. One thread.
class Replica {
 public:
  // InvalidArgument: no such optimizer.
  static absl::StatusOr<std::unique_ptr<Replica>> Create(const Job& job, size_t parameters);

  std::span<float> parameters() { return {state_.data(), parameters_}; }
  // What is exchanged: the parameters, then the slots that are averaged.
  std::span<float> exchanged() { return {state_.data(), parameters_ * exchanged_vectors_}; }

  // Everything to zero, as at the beginning.
  void Reset();
  // One update at the rate, with the count of updates that the optimizer's corrections go by, from 1.
  void Step(float learning_rate, uint64_t update, std::span<const float> gradient);

 private:
  Replica(const Job& job, const kernels::UpdateRule& rule, uint32_t exchanged_vectors, size_t parameters);

  const kernels::UpdateRule& rule_;
  const size_t parameters_;
  const uint32_t exchanged_vectors_;
  kernels::Hyper hyper_;
  kernels::AlignedBuffer state_;
};

}  // namespace downpour::worker
