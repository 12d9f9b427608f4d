// Where the shards live in the workers: a worker's share of them, and how workers find one another.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/job.pb.h"
#include "proto/service.pb.h"

namespace downpour::worker {

// A parameter server inside the worker's process. Serves from its making to its end. Any thread.
class ParameterHost {
 public:
  virtual ~ParameterHost() = default;

  // host:port, with the port that was chosen.
  virtual const std::string& address() const = 0;
  virtual const std::string& metrics_address() const = 0;
  virtual StatusReply Status() const = 0;
};

// Makes server `index` of the job, listening there. Errors as an address that can't be listened on has them. Only a main
// program knows both workers and servers, so it is it that gives this.
using ParameterHostFactory = std::function<absl::StatusOr<std::unique_ptr<ParameterHost>>(
    const Job& job, uint32_t index, const std::string& listen)>;

// One worker at a job's rendezvous (service.proto). One thread.
class Rendezvous {
 public:
  Rendezvous(const std::string& address, const Job& job, uint32_t partition, const Attempt& attempt);
  ~Rendezvous();

  // Says where this worker's shards listen; the addresses of all, by partition, once all have come. `on_wait` is called
  // now and then with a sentence. Cancelled when `stop` says so. Unavailable: nobody answers there; or after
  // sync.join_timeout_ms, naming the partitions that have not come. Aborted, FailedPrecondition: service.proto.
  absl::StatusOr<std::vector<std::string>> Meet(const std::string& own, const std::function<bool()>& stop,
                                                const std::function<void(const std::string&)>& on_wait);
  // Waits until nobody needs this worker's shards any more, or `stop` says so, or whoever supervises the job is gone or
  // has been silent for worker.connect_timeout_ms.
  void AwaitRelease(const std::function<bool()>& stop);

 private:
  absl::StatusOr<MeetReply> Call(const std::string& own, bool done);

  struct Connection;

  const Job& job_;
  const std::string address_;
  const uint32_t partition_;
  const Attempt attempt_;
  const std::unique_ptr<Connection> connection_;
};

// Without a rendezvous: waits until every worker of the job has left, or `stop` says so.
void AwaitEveryone(const ParameterHost& host, const std::function<bool()>& stop);

}  // namespace downpour::worker
