// What a worker says to its launcher: one JSON object a line on standard output, as worker/CONTRACT.md has them.
#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "proto/service.pb.h"

namespace downpour::worker {

// Any thread may call. Lines are whole and flushed. A reader that has gone away, or does not read, is no error: progress
// is then dropped at once, the rest after a second.
class Events {
 public:
  explicit Events(uint32_t partition) : partition_(partition) {}

  void Started(const std::vector<std::string>& servers);
  void Listening(const std::string& address, const std::string& metrics);
  void Loaded(uint64_t samples, uint64_t bytes);
  void Progress(const WorkerReport& report);
  // `epoch_losses` as EpochLosses::Means has them.
  void Done(const WorkerReport& report, double loss, double seconds, const std::vector<double>& epoch_losses);
  void Failed(const std::string& reason, const std::string& hint);

 private:
  void Write(const std::string& line, std::chrono::milliseconds patience);

  const uint32_t partition_;
  std::mutex mutex_;
};

}  // namespace downpour::worker
