#include "ps/delta_sender.h"

#include <catch2/catch.hpp>
#include <limits>
#include <random>
#include <utility>
#include <vector>

#include "kernels/vector_ops.h"
#include "proto/codec/block_reader.h"

namespace downpour::ps {
namespace {

constexpr uint32_t kElements = 3000;

PartLayout Layout() {
  PartLayout layout;
  layout.elements = kElements;
  layout.exempt = {{100, 120}};
  return layout;
}

// A worker's side: what it has, and which pull brought it.
struct Receiver {
  uint32_t partition = 0;
  uint64_t number = 0;
  std::vector<float> has;

  // What came.
  DeltaAnswer::Kind Pull(DeltaSender* sender, const Codec& codec, const std::vector<float>& values, uint64_t version,
                         bool together) {
    std::vector<float> scratch(kElements);
    const DeltaRequest request{.partition = partition, .fence = 5, .number = number + 1, .has = number};
    const DeltaAnswer answer = sender->Answer(values, version, together, request, scratch);
    ++number;
    switch (answer.kind) {
      case DeltaAnswer::Kind::kValues: has = values; break;
      case DeltaAnswer::Kind::kWhole:
        has.assign(kElements, 0);
        REQUIRE(answer.payload.size() == kElements * sizeof(float));
        REQUIRE(AddPayload(CodecId::kRaw, answer.payload, has).ok());
        break;
      case DeltaAnswer::Kind::kDifference: REQUIRE(AddPayload(codec.id, answer.payload, has).ok()); break;
    }
    return answer.kind;
  }
};

constexpr auto kValues = DeltaAnswer::Kind::kValues;
constexpr auto kWhole = DeltaAnswer::Kind::kWhole;
constexpr auto kDifference = DeltaAnswer::Kind::kDifference;

double Distance(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return sum;
}

std::vector<float> Gaussian(std::mt19937& random, float scale) {
  std::normal_distribution<float> draw(0, scale);
  std::vector<float> values(kElements);
  for (float& value : values) value = draw(random);
  return values;
}

TEST_CASE("a worker that adds up differences comes to what the part is") {
  for (const char* name : {"bf16", "int8", "one_bit", "top_k", "random_k"}) {
    INFO(name);
    const Codec& codec = **FindCodec(name);
    DeltaSender sender(codec, {.share = 0.1}, Layout(), 7);
    std::mt19937 random(1);
    std::vector<float> values = Gaussian(random, 0.1f);
    Receiver worker;
    CHECK(worker.Pull(&sender, codec, values, 1, false) == kValues);
    for (uint64_t version = 2; version < 20; ++version) {
      kernels::Axpy(0.1f, Gaussian(random, 0.1f), values);
      REQUIRE(worker.Pull(&sender, codec, values, version, false) == kDifference);
    }
    const double moving = Distance(worker.has, values);
    for (int i = 0; i < 100; ++i) REQUIRE(worker.Pull(&sender, codec, values, 20, false) == kDifference);
    // Once nothing changes any more, nothing is missing in the end.
    CHECK(Distance(worker.has, values) < 1e-2 * moving);
    CHECK(Distance({worker.has.begin() + 100, worker.has.begin() + 120}, {values.begin() + 100, values.begin() + 120}) <
          1e-10);
  }
}

TEST_CASE("differences are for who has what the last answer brought") {
  std::vector<float> values(kElements), scratch(kElements);
  struct Row {
    DeltaRequest request;
    bool difference;
  };
  const std::vector<Row> rows = {{{0, 5, 4, 3}, true},  {{0, 6, 4, 3}, false}, {{0, 5, 4, 2}, false},
                                 {{0, 5, 4, 0}, false}, {{1, 5, 4, 3}, false}, {{0, 5, 3, 3}, true}};
  for (const Row& row : rows) {
    CAPTURE(row.request.partition, row.request.fence, row.request.has);
    DeltaSender sender(kInt8Codec, {}, Layout(), 7);
    CHECK(sender.Answer(values, 1, false, {0, 5, 3, 0}, scratch).kind == kValues);
    CHECK((sender.Answer(values, 1, false, row.request, scratch).kind == kDifference) == row.difference);
  }
}

TEST_CASE("a payload that somebody holds stays as it is") {
  std::vector<float> values(kElements), scratch(kElements);
  DeltaSender sender(kInt8Codec, {}, Layout(), 7);
  (void)sender.Answer(values, 1, false, {0, 5, 1, 0}, scratch);
  const Payload first = sender.Answer(values, 1, false, {0, 5, 2, 1}, scratch).payload;
  const std::vector<std::byte> kept(first.chunks()[0].begin(), first.chunks()[0].end());
  std::fill(values.begin(), values.end(), 1.0f);
  (void)sender.Answer(values, 2, false, {0, 5, 3, 2}, scratch);
  CHECK(std::equal(kept.begin(), kept.end(), first.chunks()[0].begin()));
}

TEST_CASE("workers that go together share what they have and what they are sent") {
  std::mt19937 random(2);
  std::vector<float> values = Gaussian(random, 1);
  std::vector<Receiver> workers = {{0}, {1}, {2}};
  DeltaSender sender(kTopKCodec, {.share = 0.1}, Layout(), 7);
  const auto pull = [&](uint32_t i, uint64_t version) {
    return workers[i].Pull(&sender, kTopKCodec, values, version, true);
  };
  const auto move = [&] { kernels::Axpy(1, Gaussian(random, 0.1f), values); };
  for (uint32_t i = 0; i < 3; ++i) CHECK(pull(i, 0) == kValues);
  uint64_t version = 1;
  for (; version < 6; ++version) {
    move();
    for (const uint32_t i : version % 2 == 0 ? std::vector{0u, 1u, 2u} : std::vector{2u, 0u, 1u}) {
      REQUIRE(pull(i, version) == kDifference);
    }
    CHECK(workers[0].has == workers[1].has);
    CHECK(workers[0].has == workers[2].has);
  }
  move();
  SECTION("who pulls twice doesn't leave the others behind") {
    for (const uint32_t i : {0u, 0u, 1u, 0u, 2u, 2u, 1u, 1u, 2u}) REQUIRE(pull(i, version) == kDifference);
  }
  SECTION("who misses a version gets what the others have, and goes on with them") {
    for (; version < 9; ++version) {
      move();
      REQUIRE(pull(0, version) == kDifference);
      REQUIRE(pull(2, version) == kDifference);
    }
    CHECK(pull(1, version - 1) == kWhole);
    CHECK(workers[1].has == workers[0].has);
    move();
    for (uint32_t i = 0; i < 3; ++i) REQUIRE(pull(i, version) == kDifference);
  }
  SECTION("who is the first to come back likewise") {
    sender.Forget(0);
    CHECK(pull(0, version) == kWhole);
    CHECK(pull(1, version) == kDifference);
    CHECK(pull(2, version) == kDifference);
  }
  SECTION("who begins again where all are gone gets the values") {
    for (uint32_t i = 0; i < 3; ++i) sender.Forget(i);
    CHECK(sender.copies() == 0);
    for (uint32_t i = 0; i < 3; ++i) CHECK(pull(i, version) == kValues);
  }
  SECTION("values that are not finite go as they are, to each") {
    const float good = std::exchange(values[77], std::numeric_limits<float>::infinity());
    for (uint32_t i = 0; i < 3; ++i) CHECK(pull(i, version) == kValues);
    values[77] = good;
    ++version;
    for (uint32_t i = 0; i < 3; ++i) CHECK(pull(i, version) == kValues);
    ++version;
    for (uint32_t i = 0; i < 3; ++i) CHECK(pull(i, version) == kDifference);
  }
  SECTION("who goes alone and comes back") {
    CHECK(workers[1].Pull(&sender, kTopKCodec, values, version, false) == kValues);
    CHECK(sender.copies() == 2);
    CHECK(workers[1].Pull(&sender, kTopKCodec, values, version, false) == kDifference);
    CHECK(pull(0, version) == kDifference);
    CHECK(pull(1, version) == kWhole);
    CHECK(pull(2, version) == kDifference);
  }
  CHECK(sender.copies() == 1);
  CHECK(workers[0].has == workers[1].has);
  CHECK(workers[0].has == workers[2].has);
}

TEST_CASE("who doesn't go with others has what is its own") {
  std::mt19937 random(3);
  std::vector<float> values = Gaussian(random, 1);
  std::vector<Receiver> workers = {{0}, {1}, {2}};
  DeltaSender sender(kInt8Codec, {}, Layout(), 7);
  for (uint64_t version = 0; version < 20; ++version) {
    kernels::Axpy(1, Gaussian(random, 0.1f), values);
    for (Receiver& worker : workers) {
      if (version > 0 && random() % 2 == 0) continue;
      CHECK(worker.Pull(&sender, kInt8Codec, values, version, false) == (version > 0 ? kDifference : kValues));
    }
  }
  CHECK(sender.copies() == 3);
}

}  // namespace
}  // namespace downpour::ps
