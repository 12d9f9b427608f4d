// A whole cluster in one process: real servers on loopback, workers as threads.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "proto/job.pb.h"
#include "ps/server.h"
#include "worker/data/sample_store.h"
#include "worker/ps_client.h"

namespace downpour::tests {

// A job's section: two servers on free ports, with several parts in each shard.
inline constexpr char kTwoServers[] =
    "servers: {addresses: ['127.0.0.1:0', '127.0.0.1:0'], shards: 2, part_bytes: 4096}\n";

// A small convolutional net on 1x12x12 samples in 4 classes; `settings` is YAML that overrides or adds top-level
// keys other than name, net and data.
Job SmallJob(const std::string& settings);

// `rows` random samples for SmallJob, the same for a seed: partition `partition` of `partitions` of them.
worker::SampleStore SmallSamples(size_t rows, uint32_t partition, uint32_t partitions);

// One try at a partition.
struct AttemptOptions {
  uint32_t task_attempt = 0;
  uint64_t vanish_after_steps = 0;  // ends there without a word, as a killed worker does; 0 for not
  double slow_down = 1;             // how many times as long a step takes
  bool heartbeats = false;          // renew the lease meanwhile
  std::function<void()> registered;  // called before the first step
  uint32_t learn_changes = 0;        // take the first step once so many changes of settings are known
};

class Cluster {
 public:
  // Starts the job's servers, on free ports or the Unix sockets that it names. What their shards handle is recorded in the folder `record`, if there is
  // one; the recording ends with the servers.
  explicit Cluster(const Job& job, const std::string& record = "");

  // The job with the servers' addresses.
  const Job& job() const { return job_; }
  ps::Server& server(int index) { return *servers_[index]; }

  // Trains all partitions of `rows` samples, one thread each, and leaves. The first worker's error, if any.
  absl::Status Train(size_t rows);
  // One partition, on the caller's thread.
  absl::Status TrainPartition(uint32_t partition, const worker::SampleStore& samples,
                              const AttemptOptions& attempt = {});

  // A worker that has come and does nothing. Vanishes at its end.
  std::unique_ptr<worker::PsClient> Connect(uint32_t partition);

  // The parameters on the servers, as the net lays them out, and without padding.
  std::vector<float> FlatParameters();
  std::vector<float> Parameters();

 private:
  Job job_;
  std::vector<std::unique_ptr<ps::Server>> servers_;
};

// Trains all of a job in a cluster of its own, which has to succeed; the parameters then.
std::vector<float> TrainAll(const Job& job, size_t rows);

// Between two vectors of one length, element by element.
double LargestDifference(const std::vector<float>& a, const std::vector<float>& b);

// The share of samples whose label the net finds likeliest; guessing gives 0.25.
double Accuracy(const Job& job, const std::vector<float>& flat_parameters, const worker::SampleStore& samples);

// The same training with no server at all: plain SGD on one machine.
std::vector<float> PlainSgd(const Job& job, const worker::SampleStore& samples);

// What modes in which workers step by themselves come to, computed one worker after the other with no server. Each of the
// job's workers trains on its partition of `rows` samples; after every `sync.tau` steps `exchange` gets the parameters and
// slots of each, and what is on the servers, to change.
struct LocalState {
  std::vector<std::vector<float>> workers;  // the parameters, then the slots, one vector after the other
  std::vector<float> centre;                // parameters, padding included
};
std::vector<float> ByHand(const Job& job, size_t rows, const std::function<void(LocalState&)>& exchange);

}  // namespace downpour::tests
