// The training loop of one worker.
#pragma once

#include <cstdint>
#include <mutex>

#include "absl/status/status.h"
#include "kernels/aligned_buffer.h"
#include "proto/job.pb.h"
#include "proto/service.pb.h"
#include "proto/sync/mode.h"
#include "worker/data/batcher.h"
#include "worker/net.h"
#include "worker/ps_client.h"

namespace downpour::worker {

// Dean et al. 2012, algorithm 7.1, with what differs between sync modes asked of the mode at each step. Run() is
// the compute thread; TakeReport() may be called from any.
class Trainer {
 public:
  // All must outlive the trainer. `partition_samples` is what the batcher goes through in one epoch.
  Trainer(const Job& job, const SyncMode& mode, uint64_t partition_samples, Net* net, Batcher* batcher,
          PsClient* client);

  // Trains until the batches end, max_steps is reached or the client fails; all that was computed has then been
  // acknowledged. Internal, naming the tensor, after worker.max_bad_gradients in a row that are not finite.
  absl::Status Run();

  // How far it is; the loss is the mean since the last call.
  WorkerReport TakeReport();

 private:
  absl::Status Fetch(const StepPlan& plan);
  absl::Status CheckFinite(GradientBuffer* push);
  void Count(const Batch& batch, float loss);

  // Constant after construction.
  const Job& job_;
  const SyncMode& mode_;
  const uint64_t partition_samples_;
  Net& net_;
  Batcher& batcher_;
  PsClient& client_;

  // The compute thread's.
  kernels::AlignedBuffer gradient_;  // of one step, where a push takes several
  uint64_t step_;
  uint32_t bad_in_a_row_ = 0;
  bool refetch_ = false;  // the worker's copy is spoilt, or a push was refused

  std::mutex mutex_;
  WorkerReport report_;  // protected by mutex_; `loss` is a sum until it is taken
  double rate_seconds_ = 0;
  uint64_t rate_samples_ = 0;
};

}  // namespace downpour::worker
