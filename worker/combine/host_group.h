// The workers of a job on one host, as one of them sees it. Whoever is first listens on a Unix socket and pushes for
// all; the others hand their pushes over to it, through shared memory where there is some. When it is gone, the next to
// push takes its place, and what it had not answered each sends by itself: sequence numbers make that no second time.
// What it carries of its codec's errors, which are of all of them, is lost with it.
//
// The socket is /tmp/downpour-USER/JOB.sock, in a folder that no other user may enter, so that whoever is met there may
// act for this user anyway. A folder that is otherwise is not used, and the worker pushes by itself.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include <grpcpp/server.h>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "proto/frame.h"
#include "proto/job.pb.h"
#include "proto/shared_region.h"
#include "worker/combine/combiner.h"
#include "worker/combine/host_service.h"
#include "worker/server_stream.h"

namespace downpour::worker {

class HostGroup {
 public:
  struct Options {
    std::string path;                         // of the socket
    FrameHeader hello;                        // of this worker
    HostService::Terms terms;
    std::shared_ptr<SharedRegion> region;     // in which this worker's gradients lie; null for none
    std::function<void(Message ack)> on_ack;  // of a push that was handed over; from any thread
  };

  // `job` and `wire` outlive it. Meets nobody yet.
  HostGroup(const Job& job, Options options, Combiner::Wire* wire);
  // As Close().
  ~HostGroup();
  HostGroup(const HostGroup&) = delete;
  HostGroup& operator=(const HostGroup&) = delete;

  enum class Role { kAlone, kLeads, kFollows };

  // One thread, that of Send. What this worker is in the group; looks for one where there is none, about once a second.
  // Until it has found one it pushes by itself.
  Role Meet();
  // Takes a raw push of this worker, which has one on_ack, maybe before this returns. False, and nothing happens, where
  // the group was lost meanwhile.
  bool Send(const Message& push);
  // Any thread. A server's answer: the bytes of payload that it acknowledges; none where it is of no push of the group's.
  std::optional<uint64_t> OnAck(const Message& ack);
  // Any thread. Leaves, for good; what is unanswered stays so.
  void Close();

 private:
  using Key = std::pair<uint32_t, uint64_t>;  // part, sequence
  using SocketId = std::array<int64_t, 3>;    // inode, and when it came to be; zeros for none

  // AlreadyExists where somebody listens, who did not leave a worker without an answer before.
  absl::Status Lead() ABSL_EXCLUSIVE_LOCKS_REQUIRED(meeting_);
  void Follow() ABSL_EXCLUSIVE_LOCKS_REQUIRED(meeting_);
  SocketId SocketThere() const;
  // No callback of it runs any more.
  void EndLeader() ABSL_EXCLUSIVE_LOCKS_REQUIRED(meeting_);
  void OnLeaderLost(const absl::Status& why);

  const Job& job_;
  const Options options_;
  Combiner::Wire* const wire_;

  std::mutex meeting_;  // before mutex_
  bool closed_ ABSL_GUARDED_BY(meeting_) = false;
  std::chrono::steady_clock::time_point next_try_ ABSL_GUARDED_BY(meeting_);
  std::unique_ptr<ServerStream> leader_;  // changed under meeting_; its own callbacks use it without
  SocketId own_ ABSL_GUARDED_BY(meeting_) = {};  // the socket at which this worker listens
  std::string warned_ ABSL_GUARDED_BY(meeting_);
  std::unique_ptr<HostService> service_ ABSL_GUARDED_BY(meeting_);
  std::unique_ptr<grpc::Server> server_ ABSL_GUARDED_BY(meeting_);

  std::mutex mutex_;
  std::shared_ptr<Combiner> combiner_ ABSL_GUARDED_BY(mutex_);  // where this worker pushes for all
  bool looks_ ABSL_GUARDED_BY(mutex_) = false;    // for the leader, who has not answered yet
  bool follows_ ABSL_GUARDED_BY(mutex_) = false;  // it has, and the stream lives
  SocketId looked_at_ ABSL_GUARDED_BY(mutex_) = {};  // the socket at which it looked last
  bool unanswered_ ABSL_GUARDED_BY(mutex_) = false;  // whoever listens there is not there for anybody
  std::map<Key, FrameHeader> handed_over_ ABSL_GUARDED_BY(mutex_);  // to the leader, and unanswered
};

// Where the workers of a job with these servers meet.
std::string HostGroupPath(const Job& job);

}  // namespace downpour::worker
