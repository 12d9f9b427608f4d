// How a worker, or an observer, comes to a job: it finds every server, then takes its lease from each.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <grpcpp/channel.h>

#include "absl/status/statusor.h"
#include "proto/job.pb.h"
#include "proto/service.pb.h"

namespace downpour::worker {

// Who comes. An observer reads parameters and is no member of the job.
struct Identity {
  uint32_t partition = 0;
  Attempt attempt;
  Role role = WORKER;
};

struct RegisteredServer {
  uint32_t index = 0;
  std::string address;
  std::shared_ptr<grpc::Channel> channel;  // its own, shared with no other client
  uint64_t fence = 0;

  // "server 0 at 127.0.0.1:4711"
  std::string Name() const;
};

struct Registration {
  std::vector<RegisteredServer> servers;  // in the job's order
  ShardMap map;                           // checked: one table, of the size that was registered
  Progress progress;                      // how far earlier attempts at the partition got, on all servers
  std::vector<uint32_t> unset_parts;      // that have no values yet
  // By server, the changes of settings that it knows.
  std::vector<google::protobuf::RepeatedPtrField<SettingsChange>> changes;
};

// Looks for the servers in `job.servers.addresses` for worker.connect_timeout_ms, and calls `on_wait` now and then with a
// sentence that says which one it waits for; no lease begins before all are found. Errors: Unavailable (names the server
// that could not be found, and for how long it was tried), Aborted (a newer attempt holds the partition),
// FailedPrecondition (job and server disagree: names the keys). Blocks; any thread.
absl::StatusOr<Registration> Register(const Job& job, const Identity& identity, const TableSpec& table,
                                      const std::function<void(const std::string&)>& on_wait);

}  // namespace downpour::worker
