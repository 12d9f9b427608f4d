// The data plane's stream to one server.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include <grpcpp/channel.h>

#include "absl/status/status.h"
#include "proto/frame.h"
#include "proto/shared_region.h"

namespace downpour::worker {

// Sends and receives frames; bounds what is unacknowledged by the credit that the server grants. Payloads that lie in a
// region of shared memory stay there, where the server has mapped it too. Threads: Send and
// Acknowledged may be called from any; the callbacks come from gRPC's threads, one at a time, and must not block.
class ServerStream {
 public:
  struct Callbacks {
    std::function<void(Message)> on_message;
    // Once, when the stream has ended, for whatever reason. Not called by Close().
    std::function<void(absl::Status)> on_end;
  };

  // Opens the stream and sends `hello`, which offers `region`; null for none. The welcome's place says whether it is
  // taken.
  ServerStream(std::shared_ptr<grpc::Channel> channel, const FrameHeader& hello, std::shared_ptr<SharedRegion> region,
               Callbacks callbacks);
  // Closes.
  ~ServerStream();

  ServerStream(const ServerStream&) = delete;
  ServerStream& operator=(const ServerStream&) = delete;

  // Sends in order, but for pulls (send_order.h); a payload waits here until the credit allows it. Never blocks. After
  // the end: dropped. A pull's payload is the memory into which its values are wanted, as long as the part; they lie
  // there when their frame comes, if the server could write there. A payload in the region is not to be changed until it
  // is acknowledged.
  void Send(Message message);

  // `bytes` of payload that were sent have been acknowledged.
  void Acknowledged(uint64_t bytes);

  // Ends the stream and waits until gRPC is done with it; no callback runs afterwards.
  void Close();

 private:
  class Reactor;

  std::unique_ptr<Reactor> reactor_;
};

}  // namespace downpour::worker
