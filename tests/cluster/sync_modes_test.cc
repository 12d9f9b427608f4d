// What each way of combining must come to.
#include <catch2/catch.hpp>
#include <cmath>
#include <latch>
#include <numeric>
#include <thread>

#include <grpcpp/grpcpp.h>

#include "absl/strings/str_cat.h"
#include "proto/service.grpc.pb.h"
#include "tests/cluster/cluster.h"
#include "worker/ps_client.h"

namespace downpour::tests {
namespace {

// Of a job whose shards live in its workers, or on two servers.
Job RoundsJob(const std::string& mode, int workers, int batch, const std::string& optimizer) {
  return SmallJob(absl::StrCat(mode == "peer" ? "servers: {shards: 2, part_bytes: 4096}\n" : kTwoServers,
                               "workers: ", workers, "\nsync: {mode: ", mode, "}\noptimizer: ", optimizer,
                               "\ntraining: {batch: ", batch, ", epochs: 2, shuffle: false}\n"));
}

TEST_CASE("k steps of N workers in bsp or as peers equal one node with N times the batch") {
  for (const std::string rule : {"{name: sgd, learning_rate: 0.1}", "{name: momentum, learning_rate: 0.05}",
                                 "{name: adam, learning_rate: 0.002}", "{name: adagrad, learning_rate: 0.05}"}) {
    const std::vector<float> alone = TrainAll(RoundsJob("bsp", 1, 24, rule), 720);
    for (const std::string mode : {"bsp", "peer"}) {
      CAPTURE(mode, rule);
      CHECK(LargestDifference(TrainAll(RoundsJob(mode, 3, 8, rule), 720), alone) <= 1e-5);
    }
  }
}

TEST_CASE("bsp and peers give the same bits in two runs") {
  for (const std::string mode : {"bsp", "peer"}) {
    CAPTURE(mode);
    const Job job = RoundsJob(mode, 3, 8, "{name: momentum, learning_rate: 0.05}");
    CHECK(LargestDifference(TrainAll(job, 600), TrainAll(job, 600)) == 0);
  }
}

struct Histograms {
  std::vector<uint64_t> staleness, lead;
  uint64_t largest_lead = 0;
  uint64_t pushes = 0;
  std::map<std::string, uint64_t> refused;
};

Histograms HistogramsOf(Cluster& cluster) {
  Histograms sum;
  const auto add = [](const auto& from, std::vector<uint64_t>& to) {
    to.resize(from.size());
    for (int i = 0; i < from.size(); ++i) to[i] += from[i];
  };
  for (int i = 0; i < cluster.job().servers().addresses_size(); ++i) {
    const StatusReply status = cluster.server(i).Status();
    for (const ShardStatus& shard : status.shards()) {
      add(shard.staleness(), sum.staleness);
      add(shard.lead(), sum.lead);
      sum.largest_lead = std::max(sum.largest_lead, shard.largest_lead());
      sum.pushes += shard.pushes();
      for (const auto& [reason, count] : shard.refused()) sum.refused[reason] += count;
    }
  }
  return sum;
}

uint64_t Total(const std::vector<uint64_t>& counts) { return std::accumulate(counts.begin(), counts.end(), uint64_t{0}); }

TEST_CASE("ssp: with a slow worker nobody is ever more than s clocks ahead, by the servers' own histogram") {
  for (const int s : {0, 2, 5}) {
    CAPTURE(s);
    Cluster cluster(SmallJob(absl::StrCat(kTwoServers, "workers: 3\nsync: {mode: ssp, s: ", s, "}\n",
                                          "optimizer: {name: sgd, learning_rate: 0.02}\n",
                                          "training: {batch: 8, epochs: 2}\n")));
    std::vector<std::thread> threads;
    std::vector<absl::Status> statuses(3);
    for (uint32_t i = 0; i < 3; ++i) {
      threads.emplace_back([&, i] {
        statuses[i] = cluster.TrainPartition(i, SmallSamples(480, i, 3), {.slow_down = i == 1 ? 30.0 : 1.0});
      });
    }
    for (std::thread& thread : threads) thread.join();
    for (const absl::Status& status : statuses) {
      INFO(status.message());
      CHECK(status.ok());
    }
    const Histograms seen = HistogramsOf(cluster);
    CHECK(seen.largest_lead <= static_cast<uint64_t>(s));
    CHECK(Total(seen.lead) == seen.pushes);
    CHECK(seen.pushes > 0);
    CHECK(seen.refused.empty());
  }
}

TEST_CASE("ssp: who does not move stops the others s clocks ahead, until it is gone") {
  constexpr uint64_t kS = 3;
  Cluster cluster(SmallJob(absl::StrCat("servers: {addresses: ['127.0.0.1:0'], shards: 1}\nworkers: 2\n",
                                        "sync: {mode: ssp, s: ", kS, "}\noptimizer: {name: sgd, learning_rate: 0.02}\n",
                                        "training: {batch: 8, epochs: 2}\n")));
  auto idle = cluster.Connect(1);
  absl::Status trained;
  std::thread fast([&] { trained = cluster.TrainPartition(0, SmallSamples(320, 0, 2)); });
  // Clocks 0 to s may be computed while the other is at 0.
  while (HistogramsOf(cluster).pushes < kS + 1) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  while (cluster.server(0).Status().shards(0).parked() == 0) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  CHECK(HistogramsOf(cluster).pushes == kS + 1);
  REQUIRE(idle->Leave(STOPPED, "", {}).ok());
  fast.join();
  INFO(trained.message());
  CHECK(trained.ok());
  CHECK(HistogramsOf(cluster).pushes == 40);
  CHECK(HistogramsOf(cluster).largest_lead == kS);
}

TEST_CASE("ssp: a read that waits for too long for the slow ones says for whom") {
  Cluster cluster(SmallJob(absl::StrCat("servers: {addresses: ['127.0.0.1:0'], shards: 1}\nworkers: 2\n",
                                        "sync: {mode: ssp, s: 1, read_timeout_ms: 300}\n",
                                        "optimizer: {name: sgd, learning_rate: 0.02}\ntraining: {batch: 8}\n")));
  auto idle = cluster.Connect(1);
  const absl::Status trained = cluster.TrainPartition(0, SmallSamples(320, 0, 2));
  CHECK(trained.code() == absl::StatusCode::kUnavailable);
  CHECK_THAT(std::string(trained.message()), Catch::Contains("behind which are partitions 1 (clock 0)"));
}

TEST_CASE("downpour: the staleness of a lone worker's pushes is what n_fetch and n_push make it") {
  struct Row {
    int n_fetch, n_push;
  };
  // Between two fetches a push has missed those of its own that came before it.
  for (const Row& row : {Row{1, 1}, Row{5, 5}, Row{10, 5}, Row{8, 2}, Row{2, 8}}) {
    CAPTURE(row.n_fetch, row.n_push);
    Cluster cluster(SmallJob(absl::StrCat(
        "servers: {addresses: ['127.0.0.1:0'], shards: 1}\nworkers: 1\nsync: {mode: downpour, wait: true, n_fetch: ",
        row.n_fetch, ", n_push: ", row.n_push, "}\noptimizer: {name: sgd, learning_rate: 0.01}\n",
        "training: {batch: 8, epochs: 1}\n")));
    REQUIRE(cluster.Train(640).ok());  // 80 steps
    const Histograms seen = HistogramsOf(cluster);
    CHECK(seen.pushes == static_cast<uint64_t>(80 / row.n_push));
    // The buckets are 0, 1, 2, 3 to 4, ...: pushes with a staleness of 2 and of 3 are apart.
    std::vector<uint64_t> expected(seen.staleness.size());
    for (uint64_t staleness = 0; staleness < static_cast<uint64_t>(std::max(1, row.n_fetch / row.n_push)); ++staleness) {
      expected[staleness] += seen.pushes / std::max(1, row.n_fetch / row.n_push);
    }
    CHECK(seen.staleness == expected);
  }
}

// All go on from the mean of the first `vectors` vectors of each.
std::function<void(LocalState&)> Average(size_t vectors) {
  return [vectors](LocalState& state) {
    const size_t size = state.centre.size();
    std::vector<double> mean(size * vectors);
    for (const auto& worker : state.workers) {
      for (size_t i = 0; i < mean.size(); ++i) mean[i] += worker[i] / static_cast<double>(state.workers.size());
    }
    for (auto& worker : state.workers) std::copy(mean.begin(), mean.end(), worker.begin());
    std::copy_n(mean.begin(), size, state.centre.begin());
  };
}

TEST_CASE("local SGD: after each round every replica equals the mean; with averaged state so do the slots") {
  const auto job = [](const std::string& state, const std::string& rule) {
    return SmallJob(absl::StrCat(kTwoServers, "workers: 3\nsync: {mode: local_sgd, tau: 5, state: ", state,
                                 "}\noptimizer: ", rule, "\ntraining: {batch: 8, epochs: 2}\n"));
  };
  for (const std::string rule : {"{name: sgd, learning_rate: 0.1}", "{name: momentum, learning_rate: 0.05}",
                                 "{name: adagrad, learning_rate: 0.02, weight_decay: 0.001}"}) {
    CAPTURE(rule);
    const Job local = job("local", rule);
    const Job averaged = job("averaged", rule);
    const std::vector<float> by_hand = ByHand(local, 480, Average(1));
    const std::vector<float> both_by_hand = ByHand(averaged, 480, Average(rule.find("sgd") == 7 ? 1 : 2));
    CHECK(LargestDifference(TrainAll(local, 480), by_hand) <= 1e-5);
    CHECK(LargestDifference(TrainAll(averaged, 480), both_by_hand) <= 1e-5);
    if (rule.find("sgd") != 7) CHECK(LargestDifference(by_hand, both_by_hand) > 1e-3);
  }
}

TEST_CASE("elastic averaging in rounds: workers and centre move towards each other") {
  const Job job = SmallJob(absl::StrCat(kTwoServers, "workers: 3\nsync: {mode: easgd, tau: 4, rounds: true, rho: 2}\n",
                                        "optimizer: {name: momentum, learning_rate: 0.05}\n",
                                        "training: {batch: 8, epochs: 2}\n"));
  const auto elastic = [](LocalState& state) {
    const std::vector<float> centre = state.centre;
    for (auto& worker : state.workers) {
      for (size_t i = 0; i < centre.size(); ++i) {
        const float difference = 0.1f * (worker[i] - centre[i]);
        worker[i] -= difference;
        state.centre[i] += difference;
      }
    }
  };
  CHECK(LargestDifference(TrainAll(job, 480), ByHand(job, 480, elastic)) <= 1e-5);
  // Alone there is nobody to be asynchronous with.
  const Job alone = SmallJob(absl::StrCat(kTwoServers, "workers: 1\nsync: {mode: easgd, tau: 4, rho: 2}\n",
                                          "optimizer: {name: momentum, learning_rate: 0.05}\n",
                                          "training: {batch: 8, epochs: 2}\n"));
  CHECK(LargestDifference(TrainAll(alone, 160), ByHand(alone, 160, elastic)) <= 1e-5);
}

TEST_CASE("gradients that are too old are refused and counted, and training goes on") {
  // Two pushes to a fetch: the second is from parameters that have had one update since.
  Cluster cluster(SmallJob(absl::StrCat(
      "servers: {addresses: ['127.0.0.1:0'], shards: 1}\nworkers: 1\n",
      "sync: {mode: downpour, wait: true, n_fetch: 8, n_push: 2, max_age: 1}\n",
      "optimizer: {name: sgd, learning_rate: 0.01}\ntraining: {batch: 8, epochs: 1}\n")));
  REQUIRE(cluster.Train(640).ok());
  const Histograms seen = HistogramsOf(cluster);
  // Of the staleness 0, 1, 2 the third is refused, and after it the worker fetches.
  CHECK(seen.refused.at("too_old") > 0);
  CHECK(seen.pushes + seen.refused.at("too_old") == 40);
  CHECK(seen.staleness[0] + seen.staleness[1] == seen.pushes);
}

TEST_CASE("the first worker's steps alone come before anything of the others, in every mode") {
  for (const SyncMode* mode : SyncModes()) {
    const bool tau = mode->content != PushContent::kGradient;
    CAPTURE(std::string(mode->name));
    Cluster cluster(SmallJob(absl::StrCat(
        mode->peers ? "" : kTwoServers, "workers: 3\nsync: {mode: ", mode->name, ", warmup_steps: 10",
        tau ? ", tau: 5" : "", "}\noptimizer: {name: sgd, learning_rate: 0.02}\ntraining: {batch: 8, epochs: 1}\n")));
    std::vector<absl::Status> statuses(3);
    std::vector<std::thread> threads;
    for (const uint32_t i : {2, 1}) {
      threads.emplace_back([&, i] { statuses[i] = cluster.TrainPartition(i, SmallSamples(480, i, 3)); });
    }
    // The others are there and wait: they have asked for parameters, and got none.
    const auto parked = [&] {
      uint64_t sum = 0;
      for (int i = 0; i < cluster.job().servers().addresses_size(); ++i) {
        const StatusReply status = cluster.server(i).Status();
        for (const ShardStatus& shard : status.shards()) sum += shard.parked();
      }
      return sum;
    };
    while (parked() == 0) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    CHECK(HistogramsOf(cluster).pushes == 0);
    threads.emplace_back([&] { statuses[0] = cluster.TrainPartition(0, SmallSamples(480, 0, 3)); });
    for (std::thread& thread : threads) thread.join();
    for (const absl::Status& status : statuses) {
      INFO(status.message());
      CHECK(status.ok());
    }
    const Histograms seen = HistogramsOf(cluster);
    CHECK(seen.refused.empty());
    CHECK(seen.pushes > 0);
  }
}

TEST_CASE("bsp with a backup worker does not wait for the slowest, and refuses what it sends late") {
  Cluster cluster(SmallJob(absl::StrCat(kTwoServers, "workers: 3\nsync: {mode: bsp, backup_workers: 1}\n",
                                        "optimizer: {name: sgd, learning_rate: 0.05}\n",
                                        "training: {batch: 8, epochs: 6}\n")));
  std::vector<absl::Status> statuses(3);
  std::vector<std::thread> threads;
  for (uint32_t i = 0; i < 3; ++i) {
    threads.emplace_back([&, i] {
      statuses[i] = cluster.TrainPartition(i, SmallSamples(480, i, 3), {.slow_down = i == 2 ? 20.0 : 1.0});
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const absl::Status& status : statuses) {
    INFO(status.message());
    CHECK(status.ok());
  }
  const Histograms seen = HistogramsOf(cluster);
  CHECK(seen.refused.contains("clock_closed"));
  CHECK(seen.refused.size() == 1);
  CHECK(Accuracy(cluster.job(), cluster.FlatParameters(), SmallSamples(480, 0, 1)) > 0.9);
}

TEST_CASE("bsp and local SGD form again without a worker that vanishes, and with one that comes back") {
  for (const std::string mode : {"bsp", "{mode: local_sgd, tau: 3}", "ssp", "downpour"}) {
    CAPTURE(mode);
    const std::string sync = mode[0] == '{' ? mode : absl::StrCat("{mode: ", mode, "}");
    Cluster cluster(SmallJob(absl::StrCat(kTwoServers, "workers: 3\nsync: ", sync,
                                          "\noptimizer: {name: sgd, learning_rate: 0.05}\n",
                                          "training: {batch: 8, epochs: 3}\nworker: {lease_ms: 400, heartbeat_ms: 50}\n")));
    std::vector<absl::Status> statuses(3);
    std::vector<std::jthread> threads;
    for (uint32_t i = 0; i < 2; ++i) {
      threads.emplace_back([&, i] {
        statuses[i] = cluster.TrainPartition(i, SmallSamples(480, i, 3), {.slow_down = 20, .heartbeats = true});
      });
    }
    REQUIRE(cluster.TrainPartition(2, SmallSamples(480, 2, 3), {.vanish_after_steps = 6, .heartbeats = true}).ok());
    threads.emplace_back([&] {
      statuses[2] = cluster.TrainPartition(2, SmallSamples(480, 2, 3), {.task_attempt = 1, .heartbeats = true});
    });
    threads.clear();
    for (const absl::Status& status : statuses) {
      INFO(status.message());
      CHECK(status.ok());
    }
    CHECK(Accuracy(cluster.job(), cluster.FlatParameters(), SmallSamples(480, 0, 1)) > 0.8);
  }
}

// As ps-ctl does it: the same change to all servers.
void Change(Cluster& cluster, uint32_t version, uint64_t from_clock, const std::string& sync, float rate) {
  for (const std::string& address : cluster.job().servers().addresses()) {
    const auto stub = ControlService::NewStub(grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));
    ChangeRequest request;
    request.set_job(cluster.job().name());
    request.mutable_change()->set_version(version);
    request.mutable_change()->set_from_clock(from_clock);
    *request.mutable_change()->mutable_sync() = SmallJob("workers: 2\nsync: " + sync + "\n").sync();
    request.mutable_change()->set_learning_rate(rate);
    ChangeReply reply;
    grpc::ClientContext context;
    const grpc::Status status = stub->Change(&context, request, &reply);
    INFO(status.error_message());
    REQUIRE(status.ok());
  }
}

TEST_CASE("a learning rate changes at its clock, on servers and workers alike") {
  for (const std::string mode : {"{mode: bsp}", "{mode: downpour, n_fetch: 1, n_push: 1, wait: true}"}) {
    CAPTURE(mode);
    Cluster cluster(SmallJob(absl::StrCat(kTwoServers, "workers: 1\nsync: ", mode,
                                          "\noptimizer: {name: sgd, learning_rate: 0.1}\n",
                                          "training: {batch: 16, epochs: 1, shuffle: false}\n")));
    Change(cluster, 1, 20, mode, 0.05f);
    REQUIRE(cluster.Train(800).ok());  // 50 steps
    // The same by a schedule that halves the rate at step 20.
    const Job halved = SmallJob("optimizer: {name: sgd, learning_rate: 0.1}\nschedule: {policy: multistep, step_values: [20], "
                                "gamma: 0.5}\ntraining: {batch: 16, epochs: 1, shuffle: false}\n");
    CHECK(LargestDifference(cluster.Parameters(), PlainSgd(halved, SmallSamples(800, 0, 1))) <= 1e-6);
    CHECK(HistogramsOf(cluster).refused.empty());
  }
}

TEST_CASE("the mode changes while a job runs, at one clock for all, and nothing is lost") {
  Cluster cluster(SmallJob(absl::StrCat(kTwoServers, "workers: 2\nsync: {mode: downpour, n_fetch: 4, n_push: 4}\n",
                                        "optimizer: {name: sgd, learning_rate: 0.02}\n",
                                        "training: {batch: 8, epochs: 2}\nworker: {heartbeat_ms: 20}\n")));
  absl::Status trained[2];
  std::latch here(2);
  std::latch changed(1);
  {
    std::vector<std::jthread> workers;
    for (uint32_t i = 0; i < 2; ++i) {
      workers.emplace_back([&, i] {
        trained[i] = cluster.TrainPartition(i, SmallSamples(960, i, 2),  // 120 steps each
                                            {.heartbeats = true, .registered = [&] {
                                               here.count_down();
                                               changed.wait();
                                             }, .learn_changes = 4});
      });
    }
    here.wait();
    // Known before anybody begins: each worker meets them at its own step.
    Change(cluster, 1, 10, "{mode: bsp}", 0.02f);
    Change(cluster, 2, 25, "{mode: ssp, s: 1}", 0.02f);
    Change(cluster, 3, 40, "{mode: asp}", 0.02f);
    Change(cluster, 4, 50, "{mode: bsp}", 0.02f);
    changed.count_down();
  }
  for (const absl::Status& status : trained) {
    INFO(status.message());
    REQUIRE(status.ok());
  }
  const Histograms seen = HistogramsOf(cluster);
  CHECK(seen.refused.empty());
  uint64_t parts = 0;
  for (int i = 0; i < 2; ++i) {
    const StatusReply status = cluster.server(i).Status();
    for (const ShardStatus& shard : status.shards()) parts += shard.parts();
  }
  // Of each worker: two whole pushes of downpour and what was left at its end, then one a step.
  CHECK(seen.pushes == parts * 2 * (3 + 110));
  CHECK(Accuracy(cluster.job(), cluster.FlatParameters(), SmallSamples(960, 0, 1)) > 0.9);
}

TEST_CASE("a change that a worker meets too late costs pushes, and no more") {
  struct Row {
    std::string before, after;
  };
  for (const Row& row : {Row{"{mode: asp, wait: true}", "{mode: bsp}"}, Row{"{mode: asp}", "{mode: bsp}"},
                         Row{"{mode: bsp}", "{mode: asp}"}, Row{"{mode: asp}", "{mode: ssp, s: 1}"},
                         Row{"{mode: downpour}", "{mode: ssp, s: 0}"}}) {
    CAPTURE(row.before, row.after);
    Cluster cluster(SmallJob(absl::StrCat(kTwoServers, "workers: 2\nsync: ", row.before,
                                          "\noptimizer: {name: sgd, learning_rate: 0.02}\n",
                                          "training: {batch: 8, epochs: 4}\nworker: {heartbeat_ms: 20}\n")));
    absl::Status trained[2];
    {
      std::vector<std::jthread> workers;
      for (uint32_t i = 0; i < 2; ++i) {
        workers.emplace_back([&, i] {
          trained[i] = cluster.TrainPartition(i, SmallSamples(480, i, 2), {.slow_down = 10, .heartbeats = true});
        });
      }
      while (HistogramsOf(cluster).pushes < 40) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      // From a clock that all have behind them.
      Change(cluster, 1, 0, row.after, 0.02f);
    }
    for (const absl::Status& status : trained) {
      INFO(status.message());
      CHECK(status.ok());
    }
    const Histograms seen = HistogramsOf(cluster);
    for (const auto& [reason, count] : seen.refused) {
      CHECK((reason == "new_settings" || reason == "clock_closed"));
    }
    for (int i = 0; i < 2; ++i) CHECK(cluster.server(i).Status().changes_size() == 1);
    CHECK(seen.pushes > 100);
  }
}

TEST_CASE("local SGD: a change counts from its round on, for all workers alike") {
  const Job job = SmallJob(absl::StrCat(kTwoServers, "workers: 2\nsync: {mode: local_sgd, tau: 5}\n",
                                        "optimizer: {name: sgd, learning_rate: 0.1}\n",
                                        "training: {batch: 8, epochs: 2}\n"));
  Cluster cluster(job);
  Change(cluster, 1, 4, "{mode: local_sgd, tau: 5}", 0.02f);  // rounds of 5 steps: from step 20 on
  REQUIRE(cluster.Train(320).ok());
  const Job halved = SmallJob("workers: 2\nsync: {mode: local_sgd, tau: 5}\noptimizer: {name: sgd, learning_rate: 0.1}\n"
                              "schedule: {policy: multistep, step_values: [20], gamma: 0.2}\n"
                              "training: {batch: 8, epochs: 2}\n");
  CHECK(LargestDifference(cluster.Parameters(), ByHand(halved, 320, Average(1))) <= 1e-5);
}

}  // namespace
}  // namespace downpour::tests
