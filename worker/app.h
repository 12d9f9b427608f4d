// The worker process: from its flags to its exit status.
#pragma once

#include <chrono>
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
#include "worker/memory.h"
#include "worker/net.h"
#include "worker/peers.h"
#include "worker/ps_client.h"

namespace downpour::worker {

struct AppOptions {
  Job job;
  uint32_t partition = 0;
  Attempt attempt;
  std::optional<int> feed_fd;
  std::optional<int> lifeline_fd;
  std::optional<uint64_t> memory_bytes;  // what the whole process may take, where its launcher knows
  std::string spool_dir = "/var/tmp";    // where the job has no worker.spool_dir
  // Where the shards live in the workers (peers.h): what makes this worker's, where they listen (empty for the job's
  // address), and where workers meet (empty where the job has everybody's address).
  ParameterHostFactory host_factory;
  std::string listen;
  std::string rendezvous;
  double slow_down = 1;  // how many times as long a training step takes; an aid to debugging (slow_down.h)
};

// Run() is called once, on the main thread; the others from any.
class App {
 public:
  explicit App(AppOptions options);

  ExitStatus Run();

  // Ends the worker with kStopped: a training one in order, after which Run returns; one that still loads its data
  // at once, without returning. Nothing happens where the worker is ending already.
  void Stop(const std::string& reason);

  // Ends the process at once, having said why; does not return.
  [[noreturn]] void Fail(ExitStatus exit, const absl::Status& status);

 private:
  // What went wrong, and how the process ends for it.
  struct Failure {
    ExitStatus exit = ExitStatus::kInternal;
    absl::Status status;
  };

  // The steps of a run, with what each needs of the one before.
  Failure RunSteps();
  Failure Host(Job* job);
  // Waits while another attempt holds the partition. There is no client where one has completed it.
  Failure Register(const Job& job, Net* net);
  void TellWaiting(const WorkerStatus& holder);
  absl::StatusOr<PartitionSamples> Load(const Net& net, uint64_t memory_bytes);
  void TellLoaded(const PartitionSamples& samples, const MemoryPlan& memory);
  // Whether an earlier attempt had as many rows to train on.
  absl::Status CheckRows(uint64_t rows) const;
  Failure Train(const Job& job, const PartitionSamples& samples, Net* net);
  // Keeps this worker's shards up for as long as somebody may need them.
  void Linger();
  ExitStatus Finish(const Failure& failure);
  bool Stopping();

  const AppOptions options_;
  Events events_;

  std::mutex end_;  // held by whoever ends the process, to its end

  std::mutex mutex_;
  // Protected by mutex_.
  std::shared_ptr<PsClient> client_;
  bool training_ = false;
  bool stopping_ = false;
  WorkerReport last_report_;

  // The main thread's.
  std::optional<WorkerReport> earlier_;    // of attempts before this one
  std::optional<WorkerReport> completed_;  // of the one that did all
  std::chrono::steady_clock::time_point told_waiting_;

  // The main thread's; they outlive the client. Null where servers hold the parameters.
  std::unique_ptr<ParameterHost> host_;
  std::unique_ptr<Rendezvous> rendezvous_;
};

}  // namespace downpour::worker
