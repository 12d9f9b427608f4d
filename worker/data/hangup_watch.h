// Notices that the other end of a pipe or socket has been closed.
#pragma once

#include <functional>
#include <thread>

namespace downpour::worker {

// Has a thread of its own, from construction to destruction, which calls `on_hangup` once, when the other end of
// `fd` is closed. It reads nothing, so somebody else may read there meanwhile. The descriptor stays the caller's and
// must outlive the watch. The destructor waits for a callback in progress, so it must not run inside of one.
class HangupWatch {
 public:
  HangupWatch(int fd, std::function<void()> on_hangup);
  ~HangupWatch();

  HangupWatch(const HangupWatch&) = delete;
  HangupWatch& operator=(const HangupWatch&) = delete;

 private:
  void Run(int fd);

  const std::function<void()> on_hangup_;
  int wake_fd_;
  std::thread thread_;
};

}  // namespace downpour::worker
