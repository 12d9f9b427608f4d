// The worker process: from its flags to its exit status.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/job.pb.h"
#include "worker/data/sample_store.h"
#include "worker/events.h"
#include "worker/exit_status.h"
#include "worker/net.h"
#include "worker/ps_client.h"

namespace downpour::worker {

struct AppOptions {
  Job job;
  uint32_t partition = 0;
  Attempt attempt;
  std::optional<int> feed_fd;
  std::optional<int> lifeline_fd;
  double slow_down = 1;  // how many times as long a training step takes; an aid to debugging (slow_down.h)
};

// Run() is called once, on the main thread; the others from any.
class App {
 public:
  explicit App(AppOptions options);

  ExitStatus Run();

  // Ends the worker with kStopped: a training one in order, after which Run returns; one that still loads its data
  // at once, without returning.
  void Stop(const std::string& reason);

  // Ends the process at once, having said why; does not return.
  [[noreturn]] void Fail(ExitStatus exit, const absl::Status& status);

 private:
  // What went wrong, and how the process ends for it.
  struct Failure {
    ExitStatus exit = ExitStatus::kInternal;
    absl::Status status;
  };

  Failure RunSteps();
  absl::StatusOr<SampleStore> Load(const Net& net);
  Failure Train(const SampleStore& store, Net* net);
  ExitStatus Finish(const Failure& failure);

  const AppOptions options_;
  Events events_;

  std::mutex end_;  // held by whoever ends the process, to its end

  std::mutex mutex_;
  // Protected by mutex_.
  std::shared_ptr<PsClient> client_;
  bool training_ = false;
  WorkerReport last_report_;
};

// The table of what the job's workers exchange, as the servers are told of it: the net's parameters, and where they are
// averaged too the optimizer's slots. InvalidArgument: there is no such optimizer.
absl::StatusOr<TableSpec> TableOf(const Job& job, const Net& net);

}  // namespace downpour::worker
