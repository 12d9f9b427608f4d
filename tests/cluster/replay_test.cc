// A recorded run can be had again, to the bit, whatever the timing was and however the parts are dealt now.
#include <catch2/catch.hpp>
#include <chrono>
#include <filesystem>
#include <thread>

#include "absl/strings/str_cat.h"
#include "proto/sync/mode.h"
#include "ps/replay.h"
#include "tests/cluster/cluster.h"
#include "tests/support/temporary_folder.h"

namespace downpour::tests {
namespace {

namespace fs = std::filesystem;

// Ends the servers, and with them the recording, and replays it in several ways: the same parameters each time.
void CheckReplays(Cluster* cluster, const std::string& folder) {
  const std::vector<float> values = cluster->FlatParameters();
  for (int i = 0; i < cluster->job().servers().addresses_size(); ++i) {
    cluster->server(i).Shutdown(std::chrono::seconds(1));
  }
  const auto recording = ps::OpenRecording(folder);
  INFO(recording.status().message());
  REQUIRE(recording.ok());
  for (const auto& [servers, shards] : std::vector<std::pair<uint32_t, uint32_t>>{{1, 1}, {2, 2}, {3, 2}, {7, 3}}) {
    CAPTURE(servers, shards);
    const auto replayed = ps::Replay(*recording, {.servers = servers, .shards = shards, .threads = 2});
    INFO(replayed.status().message());
    REQUIRE(replayed.ok());
    std::vector<float> again;
    uint64_t marks = 0;
    for (const ps::ReplayedPart& part : replayed->parts()) {
      REQUIRE(part.begin() == again.size());
      again.insert(again.end(), part.values().begin(), part.values().end());
      marks += part.marks();
      CHECK(!part.has_difference());
      CHECK(part.compared_to_the_end());
    }
    CHECK(marks >= static_cast<uint64_t>(replayed->parts_size()));
    CHECK(again == values);
  }
}

TEST_CASE("a recorded run in any mode, with any optimizer, can be had again") {
  for (const SyncMode* mode : SyncModes()) {
    const std::string servers =
        mode->peers ? "servers: {addresses: ['127.0.0.1:0', '127.0.0.1:0', '127.0.0.1:0'], part_bytes: 4096}\n"
                    : kTwoServers;
    for (const std::string optimizer : {"sgd", "momentum", "adam"}) {
      CAPTURE(std::string(mode->name), optimizer);
      const TemporaryFolder folder;
      const Job job = SmallJob(absl::StrCat(servers, "workers: 3\nsync: {mode: ", mode->name,
                                            "}\noptimizer: {name: ", optimizer, ", learning_rate: 0.01}\n",
                                            "training: {batch: 8, epochs: 4}\n"));
      Cluster cluster(job, folder.path());
      REQUIRE(cluster.Train(600).ok());
      CheckReplays(&cluster, folder.path());
    }
  }
}

TEST_CASE("workers that vanish and come again are replayed as they were") {
  for (const std::string mode : {"downpour", "asp"}) {
    CAPTURE(mode);
    const TemporaryFolder folder;
    Cluster cluster(SmallJob(absl::StrCat(kTwoServers, "workers: 2\nsync: {mode: ", mode, "}\n",
                                          "optimizer: {name: momentum, learning_rate: 0.01}\n",
                                          "training: {batch: 8, epochs: 4}\n")),
                    folder.path());
    absl::Status status;
    std::thread other([&] { status = cluster.TrainPartition(1, SmallSamples(400, 1, 2)); });
    const worker::SampleStore samples = SmallSamples(400, 0, 2);
    for (uint32_t attempt = 0; attempt < 3; ++attempt) {
      const AttemptOptions options{.task_attempt = attempt, .vanish_after_steps = 20 * (1 + attempt)};
      CHECK(cluster.TrainPartition(0, samples, options).ok());
    }
    CHECK(cluster.TrainPartition(0, samples, {.task_attempt = 3}).ok());
    other.join();
    CHECK(status.ok());
    CheckReplays(&cluster, folder.path());
  }
}

}  // namespace
}  // namespace downpour::tests
