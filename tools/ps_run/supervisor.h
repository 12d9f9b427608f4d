// Runs one job on this machine: servers, workers or a place for others' workers, progress, evaluation, the end.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "proto/job.pb.h"
#include "tools/ps_run/checkpoints.h"
#include "tools/ps_run/child.h"
#include "tools/ps_run/evaluations.h"
#include "tools/ps_run/job_status.h"
#include "tools/ps_run/rendezvous_server.h"
#include "tools/ps_run/run_folder.h"
#include "tools/ps_run/run_options.h"
#include "tools/ps_run/summary.h"
#include "tools/ps_run/terminal.h"

namespace downpour::run {

// Exit statuses of ps-run.
enum class RunExit : int {
  kDone = 0,
  kFailed = 1,    // or incomplete; the summary says what
  kUsage = 64,
  kServer = 69,   // servers or workers could not be started
  kStopped = 75,  // whoever started it is gone, or SIGTERM
  kInterrupted = 130,
};

// Run() is called once. One thread.
class Supervisor {
 public:
  explicit Supervisor(RunOptions options);
  ~Supervisor();

  RunExit Run();

 private:
  using Clock = std::chrono::steady_clock;

  absl::Status Prepare();
  absl::Status StartServers();
  absl::Status AwaitServers();
  // In place of starting them, where they run already.
  absl::Status AttachToServers();
  // Where the shards live in the workers: a place where they meet, in place of servers.
  absl::Status StartRendezvous();
  absl::Status AwaitPeers();
  // The addresses of all shards are known.
  absl::Status TakeAddresses(const std::vector<std::string>& addresses);
  absl::Status StartWorkers();
  absl::Status WriteCluster() const;
  // Why there is nothing for workers to go to.
  void TellLauncher(const absl::Status& status) const;

  // One round: waits for something to happen, at most progress_ms.
  void Turn();
  void ReadStatus();
  // Of those started here: who has lost its lease fails by itself as soon as it knows, unless it does not run.
  void EndSilentWorkers();
  void WatchCheckpoints();
  // Of workers that are seen for the first time: what they had done before this run.
  void CountSamplesBefore();
  // Changes of settings that are news.
  void TellChanges();
  void WatchServers();
  void WatchWorkers();
  void WatchRendezvous();
  void WatchEvaluations();
  void AddEvaluation(const Evaluation& evaluation);
  // Where the run is.
  // Of the last point; NaN before there is one.
  double LastLoss() const;
  Evaluation Now() const;
  bool WorkersEnded() const;
  void FinalEvaluation();
  void StopChildren();
  // Ends the run; `failure` is how ps-run exits where it did not get to its workers.
  RunExit Finish(const absl::Status& status, RunExit failure);

  // What whoever started the run wrote into the lifeline; empty where nothing is there.
  std::string ReasonToStop() const;
  void Problem(const std::string& sentence);
  double Seconds() const;  // of training, so far or in all
  std::optional<double> SecondsLeft(const Advance& advance) const;

  RunOptions options_;
  Terminal terminal_;
  std::optional<RunFolder> folder_;
  uint64_t restored_ = 0;  // the checkpoint's number
  bool peers_ = false;  // the shards live in the workers
  std::unique_ptr<RendezvousServer> rendezvous_;
  std::vector<Child> servers_;
  std::vector<Child> workers_;
  std::unique_ptr<Evaluations> evaluations_;
  std::unique_ptr<JobStatusReader> reader_;
  std::unique_ptr<Checkpoints> checkpoints_;  // null where no server has any

  std::optional<Clock::time_point> training_began_;
  bool training_ended_ = false;        // outcome_.seconds is known
  Advance advance_;
  RunOutcome outcome_;
  std::vector<std::string> reasons_;   // by worker, what it said when it failed
  std::vector<bool> told_;             // by worker, whether its end was told
  std::vector<std::optional<Clock::time_point>> silent_since_;  // by worker, when its lease was seen to have run out
  std::vector<bool> seen_;             // by worker, where the run goes on from a checkpoint
  std::vector<bool> silent_told_;      // by worker, whether it was killed for that
  std::vector<int> ended_told_;        // by worker that somebody else started, attempts whose end was told
  size_t changes_told_ = 0;
  uint64_t unanswered_ = 0;            // status reads in a row that failed
  int stop_signal_ = 0;
  bool orphaned_ = false;
  bool server_lost_ = false;           // or, with peers, a worker
};

}  // namespace downpour::run
