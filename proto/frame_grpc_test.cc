#include "proto/frame_grpc.h"

#include <catch2/catch.hpp>
#include <numeric>
#include <random>

#include <grpcpp/support/slice.h>

namespace downpour {
namespace {

Message Sample(std::shared_ptr<std::vector<float>> values) {
  Message message;
  message.header.kind = FrameKind::kPush;
  message.header.elements = values->size();
  message.header.payload_bytes = values->size() * sizeof(float);
  message.payload = Payload(values, std::span<const float>(*values));
  return message;
}

std::shared_ptr<std::vector<float>> Values(size_t n) {
  auto values = std::make_shared<std::vector<float>>(n);
  std::iota(values->begin(), values->end(), 0.5f);
  return values;
}

std::vector<std::byte> Flat(const Payload& payload) {
  std::vector<std::byte> bytes(payload.size());
  PayloadReader(payload).Read(bytes);
  return bytes;
}

TEST_CASE("a frame comes back as it was sent, and its payload is not copied") {
  auto values = Values(1000);
  const Message sent = Sample(values);
  const auto back = FromByteBuffer(ToByteBuffer(sent));
  REQUIRE(back.ok());
  CHECK(back->header == sent.header);
  REQUIRE(back->payload.chunks().size() == 1);
  CHECK(back->payload.chunks()[0].data() == reinterpret_cast<const std::byte*>(values->data()));
}

TEST_CASE("the values live as long as a frame that carries them") {
  auto values = Values(1000);
  std::weak_ptr<std::vector<float>> watch = values;
  {
    grpc::ByteBuffer buffer = ToByteBuffer(Sample(std::move(values)));
    CHECK_FALSE(watch.expired());
    auto back = FromByteBuffer(buffer);
    buffer.Clear();
    CHECK_FALSE(watch.expired());
  }
  CHECK(watch.expired());
}

TEST_CASE("a frame reads the same however the transport cut it") {
  const Message sent = Sample(Values(200));
  grpc::ByteBuffer whole = ToByteBuffer(sent);
  grpc::Slice bytes;
  REQUIRE(whole.DumpToSingleSlice(&bytes).ok());
  std::mt19937 random(3);
  for (int round = 0; round < 200; ++round) {
    std::vector<grpc::Slice> cut;
    for (size_t at = 0; at < bytes.size();) {
      const size_t n = std::min<size_t>(random() % 60, bytes.size() - at);
      cut.emplace_back(bytes.begin() + at, n);
      at += n;
    }
    const auto back = FromByteBuffer(grpc::ByteBuffer(cut.data(), cut.size()));
    REQUIRE(back.ok());
    CHECK(back->header == sent.header);
    CHECK(Flat(back->payload) == Flat(sent.payload));
  }
}

TEST_CASE("a payload of another length than the header says is refused") {
  Message message = Sample(Values(8));
  message.header.elements = 9;
  message.header.payload_bytes = 36;
  CHECK_THAT(std::string(FromByteBuffer(ToByteBuffer(message)).status().message()),
             Catch::Contains("says 36 bytes of payload, but 32 follow"));
  CHECK_FALSE(FromByteBuffer(grpc::ByteBuffer()).ok());
}

}  // namespace
}  // namespace downpour
