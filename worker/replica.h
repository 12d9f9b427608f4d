// A worker's own copy of the parameters, in the modes in which it steps by itself.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/aligned_buffer.h"
#include "kernels/optimizer/update_rule.h"
#include "proto/job.pb.h"
#include "proto/param_groups.h"
#include "proto/service.pb.h"
#include "worker/net.h"

namespace downpour::worker {

// How many vectors as long as the parameters a job's workers and servers exchange: one, or where the optimizer's slots
// are averaged too, those as well, one after the other behind the parameters. InvalidArgument: no such optimizer.
absl::StatusOr<uint32_t> ExchangedVectors(const Job& job);

// The table of what the job's workers exchange, as the servers are told of it: the net's parameters, and where they are
// averaged too the optimizer's slots. InvalidArgument: there is no such optimizer.
absl::StatusOr<TableSpec> TableOf(const Job& job, const Net& net);

// The parameters and the slots of the job's optimizer, one vector after the other. One thread.
class Replica {
 public:
  // `table` is what the servers were told of the net (TableOf). InvalidArgument: no such optimizer.
  static absl::StatusOr<std::unique_ptr<Replica>> Create(const Job& job, const TableSpec& table);

  std::span<float> parameters() { return {state_.data(), parameters_}; }
  // What is exchanged: the parameters, then the slots that are averaged.
  std::span<float> exchanged() { return {state_.data(), parameters_ * exchanged_vectors_}; }

  // Everything to zero, as at the beginning.
  void Reset();
  // One update at the rate. Corrections for slots that began at zero go by the updates that are in them: by `step`, from
  // 0, where slots are averaged with those of workers that took as many.
  void Step(float learning_rate, uint64_t step, std::span<const float> gradient);

 private:
  Replica(const Job& job, const kernels::UpdateRule& rule, uint32_t exchanged_vectors, const TableSpec& table);

  const kernels::UpdateRule& rule_;
  const size_t parameters_;
  const uint32_t exchanged_vectors_;
  const std::vector<ParamGroup> groups_;  // that cover the parameters
  uint64_t updates_ = 0;  // since slots were zero
  kernels::Hyper hyper_;
  kernels::AlignedBuffer state_;
  kernels::AlignedBuffer scratch_;
};

}  // namespace downpour::worker
