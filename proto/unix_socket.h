// Whether a Unix socket's path may be taken.
//
// gRPC removes whatever socket has the path before it binds its own. So the file that a killed server left behind is no
// hindrance, but a server that runs would lose its path without a word: whoever listens looks here first.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace downpour {

// As long as it lives no other server claims a path in the same folder; from before it is looked at until gRPC listens.
class SocketClaim {
 public:
  SocketClaim() = default;
  explicit SocketClaim(int folder) : folder_(folder) {}
  ~SocketClaim();
  SocketClaim(SocketClaim&& other) noexcept;
  SocketClaim& operator=(SocketClaim&& other) noexcept;

 private:
  int folder_ = -1;  // locked
};

// Unavailable, with words for the person who has to do something about it: somebody listens there, something else than
// a socket has the path, its folder is not there or may not be read. `setting` is where another path can be given.
// Waits two seconds at most, for other servers that begin.
absl::StatusOr<SocketClaim> ClaimSocketPath(const std::string& path, const std::string& setting);

// Nobody claims a path in the same folder until the claim is let go, but for those who have waited for two seconds.
SocketClaim LockSocketFolder(const std::string& path);

// OK where a path is free: nothing is there, or a socket at which nobody listens. AlreadyExists: somebody listens.
// Unavailable: something else has it, or it can't be one; says what to do.
absl::Status LookAtSocketPath(const std::string& path);

// Removes the sockets in a folder, which is locked, that nobody listens at: whoever made them was killed.
void RemoveDeadSockets(const std::string& folder);

}  // namespace downpour
