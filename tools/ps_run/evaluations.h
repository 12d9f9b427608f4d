// A run's evaluations on held-out samples: when one is due, and what came of it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/job.pb.h"
#include "proto/service.pb.h"
#include "tools/ps_run/evaluator.h"
#include "tools/ps_run/series.h"

namespace downpour::run {

// One thread. Where the run is, when an evaluation is started, is told as an Evaluation without a result.
class Evaluations {
 public:
  // Reads data.test, where the job has one. Fails as Evaluator::Create does.
  static absl::StatusOr<std::unique_ptr<Evaluations>> Create(const Job& job);

  // Where the servers listen; before the first is started.
  void SetServers(const std::vector<std::string>& addresses) { evaluator_->SetServers(addresses); }
  // Gives up what is under way, and waits for it to end; none is started afterwards.
  void Stop() { evaluator_->Stop(); }

  // Starts one if the run, of which `fraction` is done, has come to the next of job.run.evaluations, and none is under
  // way. Does nothing where there is no data.test.
  void StartIfDue(double fraction, const Evaluation& now);
  // Starts the one at the end, which also fetches the parameters that the model is made of. Not while one is under way.
  void StartLast(const Evaluation& now);
  bool under_way() const { return evaluator_->under_way(); }
  // What came of the one that was started last, if it has ended since.
  std::optional<absl::StatusOr<Evaluation>> Take();
  // What workers have measured on rows that they hold out, by the last epoch that all of these have ended; each epoch
  // once, and none where there is data.test, which is the same for all and measured of the servers' parameters.
  std::optional<Evaluation> OfWorkers(const std::vector<WorkerStatus>& workers, Evaluation now);

  // Payload bytes that servers have sent for measuring; none while they are sending. Any thread.
  std::optional<uint64_t> fetched_bytes() const { return evaluator_->fetched_bytes(); }

  // The parameters that were measured last, if any were.
  bool has_model() const { return !values_.empty(); }
  absl::Status WriteModel(const std::string& path) const;

 private:
  Evaluations(std::unique_ptr<Evaluator> evaluator, uint32_t wanted)
      : evaluator_(std::move(evaluator)), wanted_(wanted) {}
  void Start(const Evaluation& now);
  Evaluation With(Evaluation evaluation, const worker::Evaluation& measured) const;

  std::unique_ptr<Evaluator> evaluator_;
  uint32_t wanted_;
  uint32_t started_ = 0;
  Evaluation under_way_;       // as far as it is known
  double epoch_of_workers_ = 0;
  std::vector<float> values_;  // measured last
};

}  // namespace downpour::run
