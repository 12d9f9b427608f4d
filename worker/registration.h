// How a worker, or an observer, comes to a job: it finds every server, then takes its lease from each.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
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
  bool on_this_host = false;

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
  // What earlier attempts at the partition last said once they knew their rows.
  std::optional<WorkerReport> earlier;
  // Another attempt has completed the partition: what it reported. There is no lease then, and nothing to do.
  std::optional<WorkerReport> completed;
};

// What Register calls, on its own thread, while it waits. Both may be empty.
struct RegistrationWatch {
  std::function<void(const std::string&)> on_wait;      // a sentence: which server it looks for
  std::function<void(const WorkerStatus&)> on_held;     // who holds the partition, each time it has asked again
};

// Looks for the servers in `job.servers.addresses` for worker.connect_timeout_ms; no lease begins before all are found.
// Where another attempt of the same stage attempt holds the partition, asks again until that one has ended or its lease
// has run out, however long that takes. Errors: Unavailable (names the server that could not be found, and for how long
// it was tried), Aborted (a newer attempt holds the partition), FailedPrecondition (job and server disagree: names the
// keys). Blocks; any thread.
absl::StatusOr<Registration> Register(const Job& job, const Identity& identity, const TableSpec& table,
                                      const RegistrationWatch& watch);

}  // namespace downpour::worker
