// Has a job's servers write checkpoints when they are due, and knows what became of them. One thread at a time may use
// it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "proto/job.pb.h"
#include "proto/service.pb.h"
#include "tools/job_servers/servers.h"

namespace downpour::run {

class Checkpoints {
 public:
  // With the addresses of its servers. A job that plans none has none due, but such as others began are told too.
  explicit Checkpoints(const Job& job) : job_(job), servers_(job_) {}

  // What is to be told: a checkpoint that all servers have written, or why there is none.
  struct News {
    uint64_t number = 0;
    uint64_t clock = 0;
    uint64_t bytes = 0;
    double seconds = 0;   // until the last server had written
    uint32_t late = 0;    // parts that are as of a later clock
    std::string problem;  // empty where it is done
  };

  // `servers` as they answered last, in the job's order; `now` in seconds of training. May call them.
  std::optional<News> Turn(const std::vector<StatusReply>& servers, double now);

 private:
  bool IsDue(const std::vector<StatusReply>& servers, double now) const;
  std::optional<News> Begin(const std::vector<StatusReply>& servers);

  const Job job_;
  const JobServers servers_;
  uint64_t told_ = 0;       // the latest number that was told
  uint64_t under_way_ = 0;  // the number that was begun here; 0 for none
  double begun_seconds_ = 0;
  uint64_t begun_step_ = 0;
};

}  // namespace downpour::run
