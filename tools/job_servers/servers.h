// The servers of a job that runs.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/service.grpc.pb.h"

namespace downpour {

// One thread. The job must outlive it.
class JobServers {
 public:
  explicit JobServers(const Job& job);

  // What each says, in the job's order. Fails, naming the server, where one does not answer or works for another job.
  absl::StatusOr<std::vector<StatusReply>> Status() const;

  // Tells every server of a change; one that has it already is content. `told` counts those that took it.
  absl::Status Change(const SettingsChange& change, size_t* told) const;

  // Has every server begin a checkpoint. Fails, naming the server, at the first that does not; of those before it the
  // next checkpoint takes the place.
  absl::Status Checkpoint(uint64_t number, uint64_t clock) const;

  // All servers go back to one checkpoint, the latest that the first finds whole where `number` is 0.
  absl::StatusOr<RestoreReply> Restore(uint64_t number) const;

 private:
  std::string Name(size_t i) const;
  absl::Status Named(size_t i, const absl::Status& status) const;

  const Job& job_;
  std::vector<std::unique_ptr<ControlService::Stub>> stubs_;
};

}  // namespace downpour
