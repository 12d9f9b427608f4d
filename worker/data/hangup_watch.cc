#include "worker/data/hangup_watch.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>
#include <system_error>
#include <utility>

namespace downpour::worker {
HangupWatch::HangupWatch(int fd, std::function<void()> on_hangup)
    : on_hangup_(std::move(on_hangup)), wake_fd_(eventfd(0, EFD_CLOEXEC)) {
  if (wake_fd_ < 0) throw std::system_error(errno, std::generic_category(), "eventfd");
  thread_ = std::thread([this, fd] { Run(fd); });
}

HangupWatch::~HangupWatch() {
  const std::uint64_t one = 1;
  while (write(wake_fd_, &one, sizeof(one)) < 0 && errno == EINTR) {
  }
  thread_.join();
  close(wake_fd_);
}

void HangupWatch::Run(int fd) {
  while (true) {
    pollfd polled[] = {{.fd = wake_fd_, .events = POLLIN, .revents = 0},
                       {.fd = fd, .events = POLLRDHUP, .revents = 0}};
    if (poll(polled, 2, -1) < 0) continue;
    if (polled[0].revents != 0) return;
    if (polled[1].revents != 0) {
      on_hangup_();
      return;
    }
  }
}

}  // namespace downpour::worker
