#include "proto/shared_frame.h"

#include <catch2/catch.hpp>
#include <vector>

namespace downpour {
namespace {

using Catch::Matchers::Contains;

constexpr uint64_t kBytes = 8192;

std::shared_ptr<SharedRegion> MakeRegion() {
  auto region = SharedRegion::Create(kBytes);
  REQUIRE(region.ok());
  REQUIRE((*region)->Take(kBytes).ok());
  return *std::move(region);
}

Message Push(std::shared_ptr<const void> owner, Payload::Bytes bytes) {
  Message message{{.kind = FrameKind::kPush}, Payload(std::move(owner), std::vector<Payload::Bytes>{bytes})};
  message.header.elements = static_cast<uint32_t>(bytes.size() / sizeof(float));
  message.header.payload_bytes = static_cast<uint32_t>(bytes.size());
  return message;
}

// A push that names a place, as it comes.
Message Named(uint64_t offset, uint64_t size, uint32_t elements) {
  auto bytes = std::make_shared<std::vector<std::byte>>(kSharedPlaceBytes);
  for (int i = 0; i < 8; ++i) {
    (*bytes)[i] = static_cast<std::byte>(offset >> (8 * i));
    (*bytes)[8 + i] = static_cast<std::byte>(size >> (8 * i));
  }
  const Payload::Bytes all(*bytes);
  return {{.kind = FrameKind::kPush,
           .elements = elements,
           .payload_bytes = kSharedPlaceBytes,
           .place = PayloadPlace::kShared},
          Payload(bytes, std::vector<Payload::Bytes>{all})};
}

std::string Mistake(const std::shared_ptr<SharedRegion>& region, Message message) {
  const auto meant = FromShared(region, std::move(message));
  return meant.ok() ? "" : std::string(meant.status().message());
}

TEST_CASE("a payload in the region travels as its place and is what it was") {
  const auto region = MakeRegion();
  for (const FrameKind kind : {FrameKind::kSet, FrameKind::kPush, FrameKind::kValues}) {
    Message message = Push(region, region->bytes().subspan(128, 400));
    message.header.kind = kind;
    const FrameHeader before = message.header;
    const Message sent = ToShared(region.get(), message);
    CHECK(sent.header.place == PayloadPlace::kShared);
    CHECK(sent.header.payload_bytes == kSharedPlaceBytes);
    CHECK(sent.payload.size() == kSharedPlaceBytes);
    CHECK(DecodeFrameHeader(EncodeFrameHeader(sent.header)).ok());
    CHECK(static_cast<int>(sent.payload.chunks()[0][0]) == 128);
    const auto meant = FromShared(region, sent);
    INFO(meant.status());
    REQUIRE(meant.ok());
    CHECK(meant->header == before);
    REQUIRE(meant->payload.chunks().size() == 1);
    CHECK(meant->payload.chunks()[0].data() == region->bytes().data() + 128);
    CHECK(meant->payload.size() == 400);
    CHECK(meant->payload.owner() == region);
  }
}

TEST_CASE("a payload that is not all in the region follows its header") {
  const auto region = MakeRegion();
  const auto own = std::make_shared<std::vector<std::byte>>(400);
  const auto all = region->bytes();
  const std::vector<Message> messages = {
      Push(own, *own),
      Push(region, all.subspan(4, 400)),                                  // not aligned
      Push(region, Payload::Bytes(all.data() + kBytes - 64, 128)),        // over the end
      {{.kind = FrameKind::kPush, .elements = 32, .payload_bytes = 128},  // in pieces
       Payload(region, std::vector<Payload::Bytes>{all.first(64), all.subspan(128, 64)})},
      {{.kind = FrameKind::kAck, .payload_bytes = 64}, Payload(region, std::vector<Payload::Bytes>{all.first(64)})}};
  for (const Message& message : messages) {
    const Message sent = ToShared(region.get(), message);
    CHECK(sent.header == message.header);
    CHECK(sent.payload.chunks().data() != nullptr);
    CHECK(sent.payload.size() == message.payload.size());
  }
  CHECK(ToShared(nullptr, Push(region, all.first(64))).header.place == PayloadPlace::kFollows);
}

TEST_CASE("a pull tells where the values are wanted, if the other end can write there") {
  const auto region = MakeRegion();
  const Message pull{{.kind = FrameKind::kPull},
                     Payload(region, std::vector<Payload::Bytes>{region->bytes().first(256)})};
  const auto meant = FromShared(region, ToShared(region.get(), pull));
  REQUIRE(meant.ok());
  CHECK(meant->header == pull.header);
  CHECK(meant->payload.chunks()[0].data() == region->bytes().data());
  CHECK(meant->payload.size() == 256);
  const Message plain = ToShared(nullptr, pull);
  CHECK(plain.header == pull.header);
  CHECK(plain.payload.size() == 0);
}

TEST_CASE("a place that is none is refused") {
  const auto region = MakeRegion();
  CHECK(Mistake(region, Named(kBytes - 64, 64, 16)) == "");
  CHECK_THAT(Mistake(nullptr, Named(0, 64, 16)), Contains("this stream has agreed on none"));
  CHECK_THAT(Mistake(region, Named(kBytes - 64, 128, 32)), Contains("128 bytes at 8128 of shared memory"));
  CHECK_THAT(Mistake(region, Named(kBytes + 64, 0, 0)), Contains("0 bytes at 8256 of shared memory"));
  CHECK_THAT(Mistake(region, Named(UINT64_MAX - 63, 64, 16)), Contains("which has 8192 bytes"));
  CHECK_THAT(Mistake(region, Named(64, UINT64_MAX - 63, 16)), Contains("which has 8192 bytes"));
  CHECK_THAT(Mistake(region, Named(32, 64, 16)), Contains("it should be a multiple of 64"));
  CHECK_THAT(Mistake(region, Named(0, 64, 17)), Contains("can't hold 17 floats"));
  CHECK_THAT(Mistake(region, Named(0, 63, 16)), Contains("can't hold 16 floats"));
  Message pull = Named(0, 6, 0);
  pull.header.kind = FrameKind::kPull;
  CHECK_THAT(Mistake(region, pull), Contains("can't hold"));
  pull = Named(0, 0, 0);
  pull.header.kind = FrameKind::kPull;
  CHECK_THAT(Mistake(region, pull), Contains("can't hold"));
}

}  // namespace
}  // namespace downpour
