// What a worker says to its launcher: one JSON object a line on standard output, as worker/CONTRACT.md has them.
#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "proto/service.pb.h"

namespace downpour::worker {

// What a worker has once all its rows have come, in bytes.
struct LoadedRows {
  uint64_t samples = 0;
  uint64_t held_out = 0;
  uint64_t bytes = 0;
  uint64_t memory_bytes = 0;   // of it in memory, in whole chunks
  uint64_t spooled_bytes = 0;  // and in the spool file
  uint64_t bound_bytes = 0;    // what the whole process may take of memory
};

// Any thread may call. Lines are whole and flushed. A reader that has gone away, or does not read, is no error: progress
// is then dropped at once, the rest after a second.
class Events {
 public:
  explicit Events(uint32_t partition) : partition_(partition) {}

  void Started(const std::vector<std::string>& servers);
  void Listening(const std::string& address, const std::string& metrics);
  // Another attempt holds the partition.
  void Waiting(const WorkerStatus& holder);
  void Loaded(const LoadedRows& rows);
  void Progress(const WorkerReport& report);
  void Done(const WorkerReport& report);
  void Failed(const std::string& reason, const std::string& hint);

 private:
  void Write(const std::string& line, std::chrono::milliseconds patience);

  const uint32_t partition_;
  std::mutex mutex_;
};

}  // namespace downpour::worker
