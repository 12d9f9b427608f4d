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

TEST_CASE("the other workers in a push come with it, however the transport cut it") {
  Message sent = Sample(Values(50));
  sent.contributors = {{1, 64, 11, 2, 3, 192, 7}, {9, 32, UINT64_MAX, 1, 1, 32, 0}};
  sent.header.contributors = 2;
  grpc::ByteBuffer whole = ToByteBuffer(sent);
  grpc::Slice bytes;
  REQUIRE(whole.DumpToSingleSlice(&bytes).ok());
  for (size_t cut : {1ul, kFrameHeaderBytes - 1, kFrameHeaderBytes, kFrameHeaderBytes + 5,
                     kFrameHeaderBytes + 2 * kContributorBytes, bytes.size() - 1}) {
    const grpc::Slice pieces[] = {bytes.sub(0, cut), bytes.sub(cut, bytes.size())};
    const auto back = FromByteBuffer(grpc::ByteBuffer(pieces, 2));
    REQUIRE(back.ok());
    CHECK(back->header == sent.header);
    CHECK(back->contributors == sent.contributors);
    CHECK(Flat(back->payload) == Flat(sent.payload));
  }
  // Cut off among them.
  const grpc::Slice cut = bytes.sub(0, kFrameHeaderBytes + kContributorBytes + 3);
  CHECK_FALSE(FromByteBuffer(grpc::ByteBuffer(&cut, 1)).ok());
  // Those that the header does not name are payload, of which there is too much.
  sent.header.contributors = 1;
  CHECK_FALSE(FromByteBuffer(ToByteBuffer(sent)).ok());
}

}  // namespace
}  // namespace downpour
