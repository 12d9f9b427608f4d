#include "ps/delta_sender.h"

#include <catch2/catch.hpp>
#include <random>
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

void AddTo(std::vector<float>* has, CodecId codec, const Payload& payload) {
  const auto reader = BlockReader::Open(codec, payload, kElements);
  REQUIRE(reader.ok());
  std::vector<float> scratch(700);
  for (size_t at = 0; at < has->size();) {
    const auto block = (*reader)->Next(700, scratch);
    REQUIRE(!block.empty());
    kernels::Axpy(1, block, std::span(*has).subspan(at, block.size()));
    at += block.size();
  }
}

double Distance(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return sum;
}

TEST_CASE("a worker that adds up differences comes to what the part is") {
  for (const char* name : {"bf16", "int8", "one_bit", "top_k", "random_k"}) {
    INFO(name);
    const Codec& codec = **FindCodec(name);
    DeltaSender sender(codec, {.share = 0.1}, Layout(), 7);
    std::mt19937 random(1);
    std::normal_distribution<float> draw(0, 0.1f);
    std::vector<float> values(kElements), scratch(kElements);
    for (float& value : values) value = draw(random);
    sender.SendWhole(values, 5, 1);
    std::vector<float> has = values;
    for (uint64_t number = 2; number < 20; ++number) {
      for (float& value : values) value += 0.1f * draw(random);
      REQUIRE(sender.Knows(5, number - 1));
      AddTo(&has, codec.id, sender.SendDifference(values, number, scratch));
    }
    const double moving = Distance(has, values);
    for (uint64_t number = 20; number < 120; ++number) {
      AddTo(&has, codec.id, sender.SendDifference(values, number, scratch));
    }
    // Once nothing changes any more, nothing is missing in the end.
    CHECK(moving > 0);
    CHECK(Distance(has, values) < 1e-2 * moving);
    CHECK(Distance({has.begin() + 100, has.begin() + 120}, {values.begin() + 100, values.begin() + 120}) < 1e-10);
  }
}

TEST_CASE("differences are for who has what the last answer brought") {
  DeltaSender sender(kInt8Codec, {}, Layout(), 7);
  std::vector<float> values(kElements), scratch(kElements);
  CHECK_FALSE(sender.Knows(5, 0));
  CHECK_FALSE(sender.Knows(5, 1));
  sender.SendWhole(values, 5, 3);
  CHECK(sender.Knows(5, 3));
  CHECK_FALSE(sender.Knows(6, 3));
  CHECK_FALSE(sender.Knows(5, 2));
  CHECK_FALSE(sender.Knows(5, 0));
  const Payload first = sender.SendDifference(values, 4, scratch);
  CHECK_FALSE(sender.Knows(5, 3));
  CHECK(sender.Knows(5, 4));
  // A payload that somebody holds stays as it is.
  const std::vector<std::byte> kept(first.chunks()[0].begin(), first.chunks()[0].end());
  std::fill(values.begin(), values.end(), 1.0f);
  (void)sender.SendDifference(values, 5, scratch);
  CHECK(std::equal(kept.begin(), kept.end(), first.chunks()[0].begin()));
}

}  // namespace
}  // namespace downpour::ps
