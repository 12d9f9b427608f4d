// The training loop of one worker.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/aligned_buffer.h"
#include "proto/codec/wire_codecs.h"
#include "proto/job.pb.h"
#include "proto/param_groups.h"
#include "proto/service.pb.h"
#include "proto/settings.h"
#include "worker/congestion_control.h"
#include "worker/data/batcher.h"
#include "worker/data/sample_store.h"
#include "worker/epoch_history.h"
#include "worker/net.h"
#include "worker/ps_client.h"
#include "worker/replica.h"
#include "worker/slow_down.h"

namespace downpour::worker {

// What a partition is to its trainer, which it outlives.
struct TrainingData {
  uint64_t samples = 0;  // that the batcher goes through in one epoch
  Batcher* batcher = nullptr;
  const SampleStore* held_out = nullptr;  // not trained on, measured after each epoch; null for none
};

// Dean et al. 2012, algorithm 7.1, with what differs between sync modes asked of the mode at each step. Run() is
// the compute thread; TakeReport() may be called from any.
class Trainer {
 public:
  // All must outlive the trainer. `slow_down` is how many times as long a step takes (slow_down.h). InvalidArgument: the
  // job's optimizer does not exist.
  static absl::StatusOr<std::unique_ptr<Trainer>> Create(const Job& job, const TrainingData& data, Net* net,
                                                         PsClient* client, double slow_down = 1);

  // Trains until the batches end, max_steps is reached or the client fails; all that was computed has then been
  // acknowledged. Internal, naming the tensor, after worker.max_bad_gradients in a row that are not finite.
  absl::Status Run();

  // How far it is; the loss is the mean since the last call, of the steps where it was finite; NaN where it was in none.
  WorkerReport TakeReport();

  // Once Run has returned.
  std::span<const EpochResult> epochs() const { return history_.results(); }

 private:
  Trainer(const Job& job, const TableSpec& table, const Settings& settings, const TrainingData& data, Net* net,
          PsClient* client, std::unique_ptr<Replica> replica, double slow_down);

  // Fetches as the mode says, until it lets the step be computed.
  absl::StatusOr<StepPlan> Prepare();
  absl::Status Fetch(const StepPlan& plan);
  absl::Status Install();
  StepPlan Plan() const { return PlanOf(step_, fetched_); }
  StepPlan PlanOf(uint64_t step, bool fetched) const;
  PsClient::FetchOptions FetchOf(const StepPlan& plan) const {
    return {plan.fetch_clock, plan.after_own_push, settings_.version};
  }
  // The mode's settings, at the wire's level.
  void SetSync();
  // Whether what the step waits for says something of the wire.
  bool WireCounts() const;
  // Looks at what the wire was like, once a while has passed.
  void WatchWire();
  // Pushes what has accrued up to this step, and fetches for the next what that would fetch at once.
  absl::Status ExchangeForNext();
  // Pushes what has accrued up to this step.
  absl::Status Exchange(uint64_t last_step, const std::optional<PsClient::FetchOptions>& then_fetch = std::nullopt);
  absl::Status FillParameters(GradientBuffer* push);
  absl::Status FillDifference(GradientBuffer* push);
  absl::Status CheckFinite(GradientBuffer* push);
  void Clip(std::span<float> gradient) const;
  // Of a push of gradients, what is to be taken from running averages.
  void ShareAverages(std::span<float> push) const;
  // Plain SGD on the worker's copy.
  void PlainStep(std::span<const float> gradient);
  float Rate() const;
  // By how much an exchange moves a worker and the centre towards each other.
  float Elasticity() const;
  // What the net computes with.
  std::span<const float> parameters() const { return replica_ ? replica_->parameters() : client_.parameters(); }
  void Count(const Batch& batch, const Evaluation& result);
  // After the batch that ends at `position`.
  absl::Status MeasureHeldOut(uint64_t position, double epoch);

  // Constant after construction.
  const Job& job_;
  const TrainingData data_;
  Net& net_;
  PsClient& client_;
  const std::vector<ParamGroup> groups_;  // none where all parameters go by the same rate and none is an average
  const std::unique_ptr<Replica> replica_;  // null where workers do not step by themselves

  // The compute thread's.
  Settings settings_;
  Sync sync_;  // of the settings, with the intervals of the wire's level
  const std::vector<WireLevel> levels_;
  CongestionControl congestion_;
  double window_begun_ = 0;
  uint64_t window_step_ = 0;  // the step at which the stretch began
  uint32_t window_pushes_ = 0;
  SlowDown slow_down_;
  kernels::AlignedBuffer gradient_;  // of one step, where a push takes several or the replica takes it
  std::shared_ptr<GradientBuffer> accrued_;  // null where nothing has accrued
  uint64_t step_;
  uint64_t first_step_;
  bool fetched_ = false;  // since the last step
  uint32_t bad_in_a_row_ = 0;
  uint64_t good_pushes_ = 0;
  std::string last_bad_;  // the tensor at which a push was not finite
  int steps_on_same_averages_ = 0;  // the last of those that a push accrued
  EpochHistory history_;
  bool refetch_ = false;  // the worker's copy is spoilt, or a push was refused

  std::mutex mutex_;
  WorkerReport report_;  // protected by mutex_; `loss` is a sum until it is taken
  double began_seconds_ = 0;
  double rate_seconds_ = 0;
  uint64_t rate_samples_ = 0;
  uint64_t bad_losses_ = 0;  // steps since the last report whose loss was not finite
};

}  // namespace downpour::worker
