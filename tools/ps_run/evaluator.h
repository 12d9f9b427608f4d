// Measures a job's parameters on the held-out samples while the job runs.
#pragma once

#include <atomic>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/job.pb.h"
#include "worker/data/sample_store.h"
#include "worker/net.h"
#include "worker/ps_client.h"

namespace downpour::run {

struct Measured {
  worker::Evaluation held_out;  // no weight where the job has no data.test
  std::vector<float> values;    // the parameters that were measured
};

// Reads parameters as an observer and is no member of the job. One thread uses it; the work is done on another, one
// measurement at a time.
class Evaluator {
 public:
  // Reads data.test, where the job has one. Fails as ReadSamples and Net::Create do.
  static absl::StatusOr<std::unique_ptr<Evaluator>> Create(const Job& job);
  // Stops.
  ~Evaluator();

  // Where the servers listen; before the first Start().
  void SetServers(const std::vector<std::string>& addresses);
  // Gives up what is under way, and waits for it to end; nothing can be started afterwards.
  void Stop();

  // Payload bytes that servers have sent for measuring; none while they are sending. Any thread.
  std::optional<uint64_t> fetched_bytes() const {
    return fetching_ ? std::nullopt : std::optional<uint64_t>(fetched_bytes_);
  }

  bool has_samples() const { return samples_.has_value(); }
  // Whether labels are classes, so that there is an accuracy.
  bool has_classes() const { return net_->classes() > 0; }
  int top_k() const { return net_->top_k(); }
  const std::vector<worker::Parameter>& parameters() const { return net_->parameters(); }

  // Starts measuring. Not while a measurement is under way.
  void Start();
  bool under_way() const { return result_.valid(); }
  // The result, if it is there; does not wait.
  std::optional<absl::StatusOr<Measured>> Take();

 private:
  explicit Evaluator(const Job& job);
  absl::StatusOr<Measured> Measure();
  absl::StatusOr<std::vector<float>> Fetch();

  Job job_;  // constant after SetServers
  std::unique_ptr<kernels::Device> device_;
  std::unique_ptr<worker::Net> net_;
  std::optional<worker::SampleStore> samples_;
  std::future<absl::StatusOr<Measured>> result_;

  std::atomic<bool> stopped_ = false;
  std::atomic<uint64_t> fetched_bytes_ = 0;
  std::atomic<bool> fetching_ = false;
  std::mutex mutex_;
  worker::PsClient* client_ = nullptr;  // while a fetch is under way; protected by mutex_
};

}  // namespace downpour::run
