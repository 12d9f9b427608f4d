// The open streams of the data plane, by number, so that a shard's answer finds its way back.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>

#include "absl/base/thread_annotations.h"
#include "ps/event.h"

namespace downpour::ps {

// One stream, as the rest of the server sees it. Any thread may call.
class Stream {
 public:
  virtual ~Stream() = default;
  // Sends an answer. Never waits; nothing happens once the stream has ended.
  virtual void Send(Reply reply) = 0;
  // Ends it, after what waits to be sent, with a refusal that says the server is going.
  virtual void Drain() = 0;
  // Ends it if it has not said who it is within the time.
  virtual void CheckGreeting(std::chrono::steady_clock::time_point now) = 0;
};

class Streams {
 public:
  uint64_t Add(std::shared_ptr<Stream> stream);
  void Remove(uint64_t id);

  void Send(Reply reply);
  void DrainAll();
  void CheckGreetings();
  // False when streams are left after the time.
  bool WaitUntilEmpty(std::chrono::milliseconds timeout);
  size_t size() const;

 private:
  mutable std::mutex mutex_;
  std::condition_variable empty_;
  uint64_t last_id_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<uint64_t, std::shared_ptr<Stream>> streams_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace downpour::ps
