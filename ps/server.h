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

class Server {
 public:
  // Serves as soon as it returns.
  //
  // `index`: which of the job's servers this is. `listen`: host:port or unix:path, port 0 for a free one;
  // empty for job.servers.addresses[index]. `metrics_listen`: host:port, the host a numeric address; empty
  // for job.servers.metrics_addresses[index], or else a free port on loopback. `logger`: null for a server
  // that says nothing. `record`: a folder into which each shard writes what it handles (recorder.h); empty for
  // no recording.
  //
  // InvalidArgument: the job or an address makes no sense. Unavailable: an address can't be listened on, or the
  // recording can't be begun; the message says which, why, and what to do. AlreadyExists: the folder has a
  // recording of this server.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const Job& job, uint32_t index,
                                                       const std::string& listen = "",
                                                       const std::string& metrics_listen = "",
                                                       std::shared_ptr<spdlog::logger> logger = nullptr,
                                                       const std::string& record = "");

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
