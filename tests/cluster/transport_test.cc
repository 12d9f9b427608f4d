// What training comes to does not depend on how its frames travel.
#include <unistd.h>

#include <catch2/catch.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "proto/sync/mode.h"
#include "tests/cluster/cluster.h"

namespace downpour::tests {
namespace {

constexpr char kSocketsAlone[] = "worker: {shared_memory: 'off'}\n";

std::string UnixServers() {
  const std::string path = absl::StrCat("unix:/tmp/transport_test.", getpid());
  return absl::StrCat("servers: {addresses: ['", path, ".0', '", path, ".1'], shards: 2, part_bytes: 4096}\n");
}

struct Run {
  std::vector<float> parameters;
  uint64_t shared_received_bytes = 0;  // by both servers
  uint64_t shared_sent_bytes = 0;
  uint64_t received_bytes = 0;
};

Run Train(const std::string& settings, size_t rows) {
  Cluster cluster(SmallJob(settings));
  const absl::Status status = cluster.Train(rows);
  INFO(status.message());
  REQUIRE(status.ok());
  Run run;
  for (int i = 0; i < 2; ++i) {
    const auto counters = cluster.server(i).Status().counters();
    run.shared_received_bytes += counters.at("shared_memory_received_bytes");
    run.shared_sent_bytes += counters.at("shared_memory_sent_bytes");
    run.received_bytes += counters.at("payload_received_bytes");
  }
  run.parameters = cluster.Parameters();
  return run;
}

TEST_CASE("through sockets of both kinds and shared memory the same bits come out") {
  // Those with one outcome, whatever comes first; a gradient, parameters and a difference are exchanged.
  for (const std::string mode : {"{mode: bsp}", "{mode: local_sgd, tau: 4}", "{mode: easgd, tau: 4, rounds: true}"}) {
    CAPTURE(mode);
    const std::string training = absl::StrCat("workers: 2\nsync: ", mode, "\n",
                                              "optimizer: {name: momentum, learning_rate: 0.05}\n"
                                              "training: {batch: 8, epochs: 2}\n");
    const Run tcp = Train(absl::StrCat(kTwoServers, kSocketsAlone, training), 400);
    CHECK(tcp.shared_received_bytes + tcp.shared_sent_bytes == 0);
    const Run unix_sockets = Train(absl::StrCat(UnixServers(), kSocketsAlone, training), 400);
    CHECK(unix_sockets.shared_received_bytes == 0);
    CHECK(LargestDifference(tcp.parameters, unix_sockets.parameters) == 0);
    for (const std::string& servers : {std::string(kTwoServers), UnixServers()}) {
      const Run shared = Train(servers + training, 400);
      // First values alone follow their headers.
      CHECK(shared.shared_received_bytes > 0.9 * shared.received_bytes);
      CHECK(shared.shared_sent_bytes > 0);
      CHECK(LargestDifference(tcp.parameters, shared.parameters) == 0);
    }
  }
}

TEST_CASE("every mode learns through sockets alone") {
  for (const SyncMode* mode : SyncModes()) {
    CAPTURE(std::string(mode->name));
    const Job job = SmallJob(
        absl::StrCat(kTwoServers, kSocketsAlone, "workers: 2\nsync: {mode: ", std::string(mode->name),
                     "}\noptimizer: {name: sgd, learning_rate: 0.05}\n", "training: {batch: 16, epochs: 6}\n"));
    Cluster cluster(job);
    REQUIRE(cluster.Train(640).ok());
    CHECK(Accuracy(job, cluster.FlatParameters(), SmallSamples(640, 0, 1)) > 0.9);
  }
}

}  // namespace
}  // namespace downpour::tests
