// What training comes to does not depend on how its frames travel.
#include <unistd.h>

#include <catch2/catch.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/cluster/cluster.h"

namespace downpour::tests {
namespace {

constexpr char kTraining[] = "optimizer: {name: momentum, learning_rate: 0.05}\ntraining: {batch: 8, epochs: 2}\n";

std::string UnixServers() {
  const std::string path = absl::StrCat("unix:/tmp/transport_test.", getpid());
  return absl::StrCat("servers: {addresses: ['", path, ".0', '", path, ".1'], shards: 2, part_bytes: 4096}\n");
}

TEST_CASE("over Unix sockets the same bits come out as over TCP") {
  const std::string training = absl::StrCat("workers: 2\nsync: {mode: bsp}\n", kTraining);
  const std::vector<float> tcp = TrainAll(SmallJob(kTwoServers + training), 400);
  const std::vector<float> unix_sockets = TrainAll(SmallJob(UnixServers() + training), 400);
  CHECK(LargestDifference(tcp, unix_sockets) == 0);
}

}  // namespace
}  // namespace downpour::tests
