// The shell around a ShardCore: a bounded queue, one thread, and the time. What is small and finds the shard at rest is
// handled at once by the thread that brings it, for to wake another takes longer than to do it.
#pragma once

#include <array>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "ps/event.h"
#include "ps/log.h"
#include "ps/shard_core.h"

namespace downpour::ps {

// Upper bounds of the histogram of apply times, in seconds.
inline constexpr std::array<double, 10> kApplyBounds = {1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 1};

struct ShardStats {
  CoreStats core;
  std::array<uint64_t, kApplyBounds.size() + 1> apply{};  // pushes handled, by bucket
  double apply_seconds = 0;
  uint64_t overloaded = 0;  // frames that found the queue full
  uint64_t queue_events = 0;
  uint64_t queue_bytes = 0;
};

class Shard {
 public:
  // Takes a shard's actions, one at a time, on the thread that handles the event. Must not wait for anything.
  class Sink {
   public:
    virtual ~Sink() = default;
    virtual void Deliver(Action action) = 0;
  };

  // Sees what the core handles and how it stands then, one event at a time, on the thread that handles it, which waits
  // meanwhile.
  class Observer {
   public:
    virtual ~Observer() = default;
    virtual void Before(const Event& event) = 0;
    virtual void After(const ShardCore& core) = 0;
    // No event comes any more.
    virtual void Ended(const ShardCore& core) = 0;
  };

  // Starts the thread. `sink` outlives the shard; `observer` may be null.
  Shard(uint32_t index, std::unique_ptr<ShardCore> core, size_t queue_limit_bytes, Sink* sink, Log log,
        std::unique_ptr<Observer> observer = nullptr);
  // As Stop().
  ~Shard();
  Shard(const Shard&) = delete;
  Shard& operator=(const Shard&) = delete;

  // Any thread. Takes a worker's frame for a part of so many bytes; false, and nothing happens, when the queue is full,
  // which it is for pulls later than for others. May handle it before it returns.
  [[nodiscard]] bool TryPost(Event event, size_t part_bytes);
  // Any thread. Takes an event of the server's own, which are few.
  void Post(Event event);
  // Handles what is queued, then ends the thread. Nothing may be posted afterwards; the counts stay.
  void Stop();
  // Any thread. Returns when all that was posted before has been handled.
  void Flush();

  // Any thread. As of the last event handled.
  ShardStats stats() const;

 private:
  static size_t Weight(const Event& event);
  void Run();
  // An event that was posted; whoever calls it has set `busy_`.
  void HandlePosted(Event event);
  void HandleOne(Event event);
  // Logs a gradient that was not finite, at most once a second.
  void Complain(const Message& refusal);

  // Constant after construction.
  const size_t queue_limit_bytes_;
  Sink* const sink_;
  const Log log_;

  // Owned by the thread that has set `busy_`.
  const std::unique_ptr<ShardCore> core_;
  const std::unique_ptr<Observer> observer_;
  std::vector<Action> actions_;
  ShardStats counted_;
  int64_t last_complaint_ms_ = 0;
  uint64_t unreported_ = 0;

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable handled_;
  std::vector<Event> queue_ ABSL_GUARDED_BY(mutex_);
  size_t queue_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t posted_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t done_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t overloaded_ ABSL_GUARDED_BY(mutex_) = 0;
  bool busy_ ABSL_GUARDED_BY(mutex_) = false;   // a thread handles events
  bool waits_ ABSL_GUARDED_BY(mutex_) = false;  // the shard's own thread, for another to be through
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  ShardStats stats_ ABSL_GUARDED_BY(mutex_);

  std::thread thread_;
};

}  // namespace downpour::ps
