// What training through servers must come to, whatever the mode, the shards and the timing.
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <thread>

#include "absl/strings/str_cat.h"
#include "proto/sync/mode.h"
#include "tests/cluster/cluster.h"

namespace downpour::tests {
namespace {

TEST_CASE("one worker that waits for each fetch and push does plain SGD") {
  for (const std::string mode : {"{mode: downpour, n_fetch: 1, n_push: 1, wait: true}",
                                 "{mode: downpour, n_fetch: 1, n_push: 1, wait: true, local_step: false}",
                                 "{mode: asp, wait: true}", "{mode: bsp}"}) {
    CAPTURE(mode);
    const Job job = SmallJob(absl::StrCat(kTwoServers, "workers: 1\nsync: ", mode,
                                          "\noptimizer: {name: sgd, learning_rate: 0.1}\n"
                                          "schedule: {policy: inv, gamma: 0.01, power: 0.75}\n"
                                          "training: {batch: 16, epochs: 2}\n"));
    const std::vector<float> trained = TrainAll(job, 800);  // 100 steps
    const std::vector<float> plain = PlainSgd(job, SmallSamples(800, 0, 1));
    CHECK(LargestDifference(trained, plain) <= 1e-6);
  }
}

TEST_CASE("downpour with one worker and n_push of 5 applies sums of five gradients") {
  // With no local step and a fetch after each push the five gradients are those of one set of parameters.
  const Job job = SmallJob(absl::StrCat(
      kTwoServers, "workers: 1\nsync: {mode: downpour, n_fetch: 5, n_push: 5, wait: true, local_step: false}\n",
      "optimizer: {name: sgd, learning_rate: 0.02}\ntraining: {batch: 16, epochs: 1, shuffle: false}\n"));
  const std::vector<float> five_of_16 = TrainAll(job, 800);
  const Job large = SmallJob("optimizer: {name: sgd, learning_rate: 0.1}\n"
                             "training: {batch: 80, epochs: 1, shuffle: false}\n");
  CHECK(LargestDifference(five_of_16, PlainSgd(large, SmallSamples(800, 0, 1))) <= 1e-5);
}

TEST_CASE("bsp: two workers of batch b equal one of batch 2b") {
  for (const std::string rule : {"{name: sgd, learning_rate: 0.1}", "{name: momentum, learning_rate: 0.05}",
                                 "{name: adam, learning_rate: 0.002}"}) {
    CAPTURE(rule);
    const auto job = [&](int workers, int batch) {
      return SmallJob(absl::StrCat(kTwoServers, "workers: ", workers, "\nsync: {mode: bsp}\noptimizer: ", rule,
                                   "\ntraining: {batch: ", batch, ", epochs: 2, shuffle: false}\n"));
    };
    CHECK(LargestDifference(TrainAll(job(2, 16), 800), TrainAll(job(1, 32), 800)) <= 1e-5);
  }
}

TEST_CASE("bsp: two runs of the same seed give the same bits") {
  const Job job = SmallJob(absl::StrCat(kTwoServers, "workers: 3\nsync: {mode: bsp}\n",
                                        "optimizer: {name: momentum, learning_rate: 0.05}\n",
                                        "training: {batch: 8, epochs: 2}\n"));
  const std::vector<float> first = TrainAll(job, 600);
  const std::vector<float> second = TrainAll(job, 600);
  CHECK(LargestDifference(first, second) == 0);
}

TEST_CASE("bsp: partitions of different length end at different clocks, and nobody hangs") {
  const Job job = SmallJob(absl::StrCat(kTwoServers, "workers: 3\nsync: {mode: bsp}\n",
                                        "optimizer: {name: sgd, learning_rate: 0.05}\n",
                                        "training: {batch: 16, epochs: 1}\n"));
  Cluster cluster(job);
  std::vector<std::thread> threads;
  std::vector<absl::Status> statuses(3);
  const size_t rows[] = {320, 0, 35};
  for (uint32_t i = 0; i < 3; ++i) {
    threads.emplace_back([&, i] { statuses[i] = cluster.TrainPartition(i, SmallSamples(rows[i], 0, 1)); });
  }
  for (auto& thread : threads) thread.join();
  for (const absl::Status& status : statuses) {
    INFO(status.message());
    CHECK(status.ok());
  }
}

TEST_CASE("every mode learns, whatever the number of servers and shards") {
  for (const SyncMode* mode : SyncModes()) {
    for (const int servers : {1, 3}) {
      for (const int shards : {1, 4}) {
        if (mode->peers && servers == 1) continue;
        const std::string addresses = servers == 1 ? "['127.0.0.1:0']" : "['127.0.0.1:0','127.0.0.1:0','127.0.0.1:0']";
        CAPTURE(std::string(mode->name), servers, shards);
        const Job job = SmallJob(absl::StrCat(
            "servers: {addresses: ", addresses, ", shards: ", shards, ", part_bytes: 4096}\nworkers: ",
            mode->peers ? servers : 2, "\n",
            "sync: {mode: ", mode->name, "}\noptimizer: {name: sgd, learning_rate: 0.05}\n",
            "training: {batch: 16, epochs: 6}\n"));
        Cluster cluster(job);
        REQUIRE(cluster.Train(640).ok());
        CHECK(Accuracy(job, cluster.FlatParameters(), SmallSamples(640, 0, 1)) > 0.9);
      }
    }
  }
}

TEST_CASE("initial values that a server does not take end the worker") {
  for (const std::string mode : {"downpour", "bsp"}) {
    CAPTURE(mode);
    Cluster cluster(SmallJob(absl::StrCat(kTwoServers, "workers: 1\nsync: {mode: ", mode, "}\n",
                                          "optimizer: {name: sgd, learning_rate: 0.01}\n")));
    const auto client = cluster.Connect(0);
    std::vector<float> initial(client->elements());
    initial[5] = std::numeric_limits<float>::infinity();
    const absl::Status status = client->SetInitial(initial);
    CHECK(status.code() == absl::StatusCode::kInvalidArgument);
    CHECK_THAT(std::string(status.message()), Catch::Contains("element 5 of the first values is not finite"));
  }
}

TEST_CASE("a server that goes away ends every worker with its name, and nobody hangs") {
  for (int round = 0; round < 4; ++round) {
    for (const std::string mode : {"downpour", "bsp"}) {
      CAPTURE(round, mode);
      Cluster cluster(SmallJob(absl::StrCat(kTwoServers, "workers: 3\nsync: {mode: ", mode, "}\n",
                                            "optimizer: {name: sgd, learning_rate: 0.01}\n",
                                            "training: {batch: 4, epochs: 100000}\n")));
      std::vector<absl::Status> statuses(3);
      std::vector<std::thread> threads;
      for (uint32_t i = 0; i < 3; ++i) {
        threads.emplace_back([&, i] { statuses[i] = cluster.TrainPartition(i, SmallSamples(64, i, 3)); });
      }
      // In the middle of pushes and fetches, each time elsewhere.
      std::this_thread::sleep_for(std::chrono::milliseconds(150 + 37 * round));
      cluster.server(1).Shutdown(std::chrono::milliseconds(round % 2 == 0 ? 0 : 500));
      for (std::thread& thread : threads) thread.join();
      for (const absl::Status& status : statuses) {
        INFO(status.message());
        CHECK(status.code() == absl::StatusCode::kUnavailable);
        CHECK_THAT(std::string(status.message()), Catch::Contains("server 1 at 127.0.0.1:"));
      }
    }
  }
}

TEST_CASE("the next attempt goes on where the partition got to, and whoever comes later has nothing to do") {
  const std::string settings = absl::StrCat(kTwoServers, "workers: 1\nsync: {mode: asp, wait: true}\n",
                                            "optimizer: {name: sgd, learning_rate: 0.1}\n");
  Cluster cluster(SmallJob(settings + "training: {batch: 16, epochs: 2}\n"));
  const worker::SampleStore samples = SmallSamples(800, 0, 1);
  REQUIRE(cluster.TrainPartition(0, samples, {.vanish_after_steps = 37}).ok());
  REQUIRE(cluster.TrainPartition(0, samples, {.task_attempt = 1}).ok());
  CHECK(LargestDifference(cluster.Parameters(), PlainSgd(cluster.job(), samples)) <= 1e-6);
  for (const uint32_t task : {0, 2}) {
    const absl::Status late = cluster.TrainPartition(0, samples, {.task_attempt = task});
    INFO(late.message());
    CHECK(late.code() == absl::StatusCode::kAlreadyExists);
  }
}

}  // namespace
}  // namespace downpour::tests
