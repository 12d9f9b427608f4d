// One parameter server: shards, control and data plane, metrics. Also runs inside another process: a test, or
// a main file that puts servers and workers together.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "proto/job.pb.h"
#include "proto/service.pb.h"
#include "ps/log.h"

namespace downpour::ps {

struct ServerOptions {
  uint32_t index = 0;                      // which of the job's servers this is
  std::string listen;                      // host:port or unix:path, port 0 for a free one; empty for the job's
  std::string metrics_listen;              // host:port, the host a numeric address; empty for the job's, or a free port
  std::shared_ptr<spdlog::logger> logger;  // null for a server that says nothing
  std::string record;                      // a folder into which each shard writes what it handles (recorder.h), or empty
  std::string checkpoints;                 // a folder for them; empty for the job's
  std::string restore;                     // a folder of checkpoints to go on from; empty to begin anew
  uint64_t restore_number = 0;             // which; 0 for the latest that is whole, as this server finds it
};

class Server {
 public:
  // Serves as soon as it returns.
  //
  // InvalidArgument: the job or an address makes no sense. Unavailable: an address can't be listened on, or the
  // recording can't be begun; the message says which, why, and what to do. AlreadyExists: the folder has a
  // recording of this server. NotFound, FailedPrecondition: there is no checkpoint to go on from, or it is not of such a
  // job.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const Job& job, const ServerOptions& options);

  // Shuts down at once if nobody did.
  ~Server();

  // With the port that was chosen.
  const std::string& address() const;
  const std::string& metrics_address() const;

  // Any thread.
  StatusReply Status() const;

  // Refuses what is new, answers what waits (with a refusal, where it can't be served), ends streams and
  // calls, and stops. Takes no longer than `deadline` and a little. Once, on one thread.
  void Shutdown(std::chrono::milliseconds deadline);

 private:
  class Impl;
  explicit Server(std::unique_ptr<Impl> impl);

  std::unique_ptr<Impl> impl_;
};

}  // namespace downpour::ps
