#include "worker/standard_streams.h"

#include <fcntl.h>
#include <unistd.h>

namespace downpour::worker {

void EnsureStandardStreams() {
  int fd = 0;
  do {
    fd = open("/dev/null", O_RDWR);
  } while (fd >= 0 && fd <= STDERR_FILENO);
  if (fd >= 0) close(fd);
}

bool IsOpen(int fd) { return fcntl(fd, F_GETFD) >= 0; }

}  // namespace downpour::worker
