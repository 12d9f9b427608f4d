// Training with what travels encoded.
#include "proto/codec/codec.h"

#include <catch2/catch.hpp>

#include "absl/strings/str_cat.h"
#include "tests/cluster/cluster.h"

namespace downpour::tests {
namespace {

Job CodedJob(const std::string& sync, const std::string& wire, double rate = 0.05, int epochs = 6) {
  return SmallJob(absl::StrCat(kTwoServers, "workers: 2\nsync: ", sync, "\nwire: ", wire,
                               "\noptimizer: {name: sgd, learning_rate: ", rate,
                               "}\ntraining: {batch: 16, epochs: ", epochs, "}\n"));
}

std::string PushBy(const Codec& codec) {
  const std::string more = codec.id == CodecId::kTopK || codec.id == CodecId::kRandomK ? ", share: 0.1"
                           : codec.id == CodecId::kThreshold                           ? ", threshold: 0.01"
                           : codec.id == CodecId::kPowerSgd                            ? ", rank: 1"
                                                                                       : "";
  return absl::StrCat("{push: {codec: ", codec.name, more, codec.id == CodecId::kRaw ? "" : ", min_elements: 100",
                      "}, pull: {codec: bf16}}");
}

TEST_CASE("every codec learns, in weak and strong modes") {
  for (const Codec* codec : Codecs()) {
    for (const std::string sync : {"{mode: downpour}", "{mode: asp}", "{mode: bsp}", "{mode: easgd}"}) {
      CAPTURE(std::string(codec->name), sync);
      const Job job = CodedJob(sync, PushBy(*codec), 0.02, 15);
      Cluster cluster(job);
      REQUIRE(cluster.Train(640).ok());
      CHECK(Accuracy(job, cluster.FlatParameters(), SmallSamples(640, 0, 1)) > 0.8);
    }
  }
}

TEST_CASE("bsp: two runs of the same seed give the same bits in every codec") {
  for (const Codec* codec : Codecs()) {
    CAPTURE(std::string(codec->name));
    const Job job = CodedJob("{mode: bsp}", PushBy(*codec));
    CHECK(LargestDifference(TrainAll(job, 320), TrainAll(job, 320)) == 0);
  }
}

TEST_CASE("fetches bring what has changed") {
  for (const Codec* codec : Codecs()) {
    if (codec->id == CodecId::kPowerSgd) continue;
    const std::string more = codec->id == CodecId::kTopK || codec->id == CodecId::kRandomK ? ", share: 0.2"
                             : codec->id == CodecId::kThreshold                            ? ", threshold: 0.01"
                                                                                           : "";
    for (const std::string sync : {"{mode: downpour}", "{mode: ssp}", "{mode: bsp}", "{mode: local_sgd, tau: 5}"}) {
      CAPTURE(std::string(codec->name), sync);
      const Job job = CodedJob(
          sync,
          absl::StrCat("{pull: {codec: ", codec->name, more, codec->for_parameters ? "" : ", min_elements: 100", "}}"),
          0.02, 20);
      Cluster cluster(job);
      REQUIRE(cluster.Train(640).ok());
      CHECK(Accuracy(job, cluster.FlatParameters(), SmallSamples(640, 0, 1)) > 0.9);
    }
  }
}

TEST_CASE("averaged parameters travel in half the bytes") {
  const auto job = [](const std::string& wire) { return CodedJob("{mode: local_sgd, tau: 5}", wire); };
  Cluster raw(job("{}"));
  Cluster half(job("{push: {codec: fp16, min_elements: 0}, pull: {codec: fp16}}"));
  REQUIRE(raw.Train(640).ok());
  REQUIRE(half.Train(640).ok());
  CHECK(LargestDifference(raw.Parameters(), half.Parameters()) > 0);
  CHECK(Accuracy(half.job(), half.FlatParameters(), SmallSamples(640, 0, 1)) > 0.9);
  const auto received = [](Cluster& cluster) {
    return static_cast<double>(cluster.server(0).Status().counters().at("payload_received_bytes"));
  };
  CHECK(received(half) / received(raw) == Approx(0.5).margin(0.05));
}

TEST_CASE("a server counts the bytes that came") {
  const auto received = [](const std::string& wire) {
    Cluster cluster(CodedJob("{mode: bsp}", wire));
    REQUIRE(cluster.Train(320).ok());
    uint64_t bytes = 0;
    for (int i = 0; i < 2; ++i) bytes += cluster.server(i).Status().counters().at("payload_received_bytes");
    return static_cast<double>(bytes);
  };
  const double raw = received("{}");
  CHECK(received("{push: {codec: bf16, min_elements: 0}}") / raw == Approx(0.5).margin(0.05));
  CHECK(received("{push: {codec: int8, min_elements: 0}}") / raw == Approx(0.27).margin(0.05));
}

}  // namespace
}  // namespace downpour::tests
