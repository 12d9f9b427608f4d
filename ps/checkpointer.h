// Writes what shards give out for a checkpoint, on a thread of its own, so that they go on meanwhile. What can't be
// written ends the checkpoint, never the training.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "proto/service.pb.h"
#include "ps/checkpoint_files.h"
#include "ps/event.h"
#include "ps/log.h"

namespace downpour::ps {

class Checkpointer {
 public:
  // `folder` and `keep` as the job has them.
  Checkpointer(std::string folder, uint32_t keep, Log log);
  // Gives up what is not done.
  ~Checkpointer();
  Checkpointer(const Checkpointer&) = delete;
  Checkpointer& operator=(const Checkpointer&) = delete;

  const std::string& folder() const { return folder_; }

  // Any thread. Expects so many parts of a checkpoint from now on; one that is not done is given up. Aborted: this
  // number or a later one was begun.
  absl::Status Begin(const CheckpointHeader& header, uint32_t parts);
  // Any thread. What is under way will not be done.
  void GiveUp(const std::string& why);
  // Any thread; doesn't wait. A part of a checkpoint that was given up is dropped.
  void Deliver(Saved saved);
  // Any thread.
  CheckpointStatus status() const;

 private:
  using Clock = std::chrono::steady_clock;

  void Run();
  // On the thread.
  void Start(const CheckpointHeader& header);
  void Write(const Saved& saved);
  void FinishIfAll();
  void Fail(const absl::Status& status);

  const std::string folder_;
  const uint32_t keep_;
  const Log log_;

  // The thread's.
  CheckpointHeader header_;
  std::unique_ptr<CheckpointWriter> writer_;  // null while nothing is written

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::optional<CheckpointHeader> next_ ABSL_GUARDED_BY(mutex_);
  std::deque<Saved> saved_ ABSL_GUARDED_BY(mutex_);
  CheckpointStatus status_ ABSL_GUARDED_BY(mutex_);
  Clock::time_point begun_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;

  std::thread thread_;
};

}  // namespace downpour::ps
