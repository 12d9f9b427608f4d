// What is simulated: the job, and the distributions of all that a real cluster would bring by itself.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/job.pb.h"

namespace downpour::bench {

// What a worker computes. A step's time is lognormal with this mean, drawn anew for each step; pauses are a Poisson
// process in the time that a worker computes, each as long as an exponential distribution says.
struct ComputeTimes {
  double mean_ms = 200;
  double sigma = 0.1;           // of the logarithm
  double slow_share = 0.05;     // of the workers, which are slow all the time
  double slow_factor = 1.5;     // by which their steps are longer
  double pauses_per_hour = 12;  // of one worker
  double pause_ms = 1000;       // mean
};

// Full duplex, one link for each worker and each server, and between them a network that is never full. A worker's
// speed is uniform between `worker_least` of the full one and all of it: the rest is its neighbours'.
struct Links {
  double worker_gbps = 10;
  double worker_least = 0.5;
  double server_gbps = 25;
  double payload_share = 0.94;  // of the bits: the rest are headers of Ethernet, IP and TCP
  double latency_us = 100;      // one way
};

// What a shard's thread takes for an event. Rates are GB/s of the part in float32; the defaults are what `--measure`
// gives, and bench/wire for frames, on the machine of bench/results/2026-11-27-scale.md.
struct ServerTimes {
  double frame_us = 8;     // to take a frame in, whatever it carries
  double answer_us = 8;    // to send a frame out
  double check_rate = 13;  // whether a gradient is finite
  double apply_rate = 13;  // the optimizer's update from one gradient
  double sum_rate = 11;    // each gradient where several are summed for one update
  double copy_rate = 14;   // a snapshot of the part, for the first read after an update
};

struct SimulationSettings {
  std::string mode = "downpour";
  std::uint32_t workers = 10;
  std::uint32_t servers = 4;
  std::uint32_t shards = 2;  // of each
  std::uint64_t parameters = 10'000'000;
  // Each float of the servers' real tables stands for so many parameters: links and applies take the time of all of
  // them.
  std::uint32_t stands_for = 1000;
  double push_bytes = 4;  // of a parameter on the wire
  double pull_bytes = 4;
  std::uint32_t batch = 64;
  std::uint64_t warmup_steps = 10;  // of a worker on average, before anything is measured
  std::uint64_t steps = 60;         // likewise, that are measured
  double join_ms = 1000;            // workers come at times uniform in [0, this)
  std::uint64_t seed = 1;
  std::vector<std::string> set;  // keys of the job, as ps-run's --set
  ComputeTimes compute;
  Links links;
  ServerTimes server;
};

// OK where all of it can be simulated. InvalidArgument otherwise: the first that can't.
absl::Status CheckSettings(const SimulationSettings& settings);

// The job that servers and workers go by. InvalidArgument as ParseJob.
absl::StatusOr<Job> JobOf(const SimulationSettings& settings);

}  // namespace downpour::bench
