// How a job stands, asked of its servers.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/service.grpc.pb.h"

namespace downpour::run {

struct JobStatus {
  std::vector<WorkerStatus> workers;  // by partition, as the first server sees them
  uint64_t pushes = 0;                // gradients of parts applied, on all servers
  uint64_t combined = 0;              // of them, those that came in one with others
  uint64_t staleness_sum = 0;
  uint64_t staleness_count = 0;
  uint64_t received_bytes = 0;  // of payload, by all servers
  uint64_t sent_bytes = 0;
  std::map<std::string, uint64_t> refused;  // by reason, on all servers
  std::vector<SettingsChange> changes;      // of settings, as the first server knows them
  std::vector<StatusReply> servers;         // as each said it

  double MeanStaleness() const {
    return staleness_count == 0 ? 0 : static_cast<double>(staleness_sum) / static_cast<double>(staleness_count);
  }
};

// Keeps a channel to each server. One thread at a time may use it.
class JobStatusReader {
 public:
  explicit JobStatusReader(const std::vector<std::string>& addresses);

  // Unavailable, naming the server, where one does not answer within a second.
  absl::StatusOr<JobStatus> Read();

 private:
  std::vector<std::string> addresses_;
  std::vector<std::unique_ptr<ControlService::Stub>> stubs_;
};

// Adds one server's answer.
void Merge(const StatusReply& reply, JobStatus* status);

// How much of the job is done, 0 to 1; workers that will not go on count as far as they came.
struct Advance {
  double fraction = 0;
  double epoch = 0;      // mean over workers
  double step = 0;       // likewise, over those that have taken one
  double epochs = 0;     // that there will be: training.epochs, or fewer where training.max_steps ends the job before
  uint64_t samples = 0;  // of all
  double images_per_second = 0;
  std::optional<double> loss;  // mean over the workers' last reports that have one
};
Advance AdvanceOf(const Job& job, const JobStatus& status);

}  // namespace downpour::run
