#include "ps/codec.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <random>
#include <vector>

namespace downpour::ps {
namespace {

std::vector<float> ReadAll(const Payload& payload, size_t limit) {
  const Codec* codec = FindCodec(CodecId::kRaw);
  auto reader = codec->read(payload);
  std::vector<float> scratch(limit);
  std::vector<float> out;
  for (;;) {
    const auto block = reader->Next(limit, scratch);
    if (block.empty()) return out;
    REQUIRE(block.size() <= limit);
    out.insert(out.end(), block.begin(), block.end());
  }
}

TEST_CASE("floats are read whole wherever the chunks are cut") {
  std::vector<float> values(997);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i) * 0.37f;
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    // Starts at an odd address, so that nothing is aligned but by chance.
    auto bytes = std::make_shared<std::vector<std::byte>>(values.size() * sizeof(float) + 1);
    std::memcpy(bytes->data() + 1, values.data(), values.size() * sizeof(float));
    std::span<const std::byte> left(bytes->data() + 1, values.size() * sizeof(float));
    std::vector<Payload::Bytes> chunks;
    while (!left.empty()) {
      const size_t n = std::min<size_t>(left.size(), random() % (round % 2 == 0 ? 7 : 900));
      chunks.push_back(left.first(n));
      left = left.subspan(n);
    }
    const Payload payload(bytes, chunks);
    CHECK(ReadAll(payload, 1 + random() % 300) == values);
  }
}

TEST_CASE("an aligned chunk is not copied") {
  auto values = std::make_shared<std::vector<float>>(64, 1.0f);
  const Payload payload(values, std::span<const float>(*values));
  auto reader = FindCodec(CodecId::kRaw)->read(payload);
  std::vector<float> scratch(64);
  CHECK(reader->Next(64, scratch).data() == values->data());
}

TEST_CASE("a codec that is none") { CHECK(FindCodec(static_cast<CodecId>(99)) == nullptr); }

}  // namespace
}  // namespace downpour::ps
