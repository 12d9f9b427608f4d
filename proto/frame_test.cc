#include "proto/frame.h"

#include <catch2/catch.hpp>
#include <random>
#include <vector>

namespace downpour {
namespace {

using Catch::Matchers::Contains;

FrameHeader Sample() {
  return {.kind = FrameKind::kPush,
          .codec = CodecId::kRaw,
          .reason = Refusal::kNone,
          .job = JobId("fashion"),
          .map_version = 1,
          .table = 2,
          .part = 3,
          .worker = 4,
          .fence = 0x0102030405060708,
          .clock = 6,
          .sequence = 7,
          .position = 8,
          .version = 9,
          .samples = 10,
          .elements = 11,
          .payload_bytes = 44,
          .content = PushContent::kDifference,
          .settings = 12};
}

std::string Mistake(const std::vector<std::byte>& bytes) {
  const auto header = DecodeFrameHeader(bytes);
  REQUIRE_FALSE(header.ok());
  return std::string(header.status().message());
}

std::vector<std::byte> Bytes(const FrameHeader& header) {
  const auto bytes = EncodeFrameHeader(header);
  return {bytes.begin(), bytes.end()};
}

TEST_CASE("a header reads back as it was written") {
  const auto header = DecodeFrameHeader(Bytes(Sample()));
  REQUIRE(header.ok());
  CHECK(*header == Sample());
}

TEST_CASE("the header's bytes are those that proto/README.md describes") {
  const std::vector<std::byte> bytes = Bytes(Sample());
  const auto at = [&](size_t i) { return static_cast<int>(bytes[i]); };
  CHECK(std::string(reinterpret_cast<const char*>(bytes.data()), 4) == "DPWF");
  CHECK(at(4) == 1);
  CHECK(at(5) == 4);
  CHECK(at(6) == 1);
  CHECK(at(7) == 0);
  CHECK(at(16) == 1);   // map version
  CHECK(at(20) == 2);   // table
  CHECK(at(24) == 3);   // part
  CHECK(at(28) == 4);   // worker
  CHECK(at(32) == 8);   // fence, least byte first
  CHECK(at(39) == 1);
  CHECK(at(40) == 6);   // clock
  CHECK(at(48) == 7);   // sequence
  CHECK(at(56) == 8);   // position
  CHECK(at(64) == 9);   // version
  CHECK(at(72) == 10);  // samples
  CHECK(at(76) == 11);  // elements
  CHECK(at(80) == 44);  // payload bytes
  CHECK(at(84) == 2);   // content
  CHECK(at(85) == 0);   // place
  CHECK(at(88) == 12);  // settings
  CHECK(at(92) == 0);
}

TEST_CASE("a job's number is pinned") { CHECK(JobId("fashion") == 0xa0bda57fbc5bf2ffULL); }

TEST_CASE("bytes that are no header are refused with the field that is wrong") {
  CHECK_THAT(Mistake(std::vector<std::byte>(95)), Contains("shorter than its header"));
  CHECK_THAT(Mistake(std::vector<std::byte>(96)), Contains("not a Downpour frame"));
  const auto with = [](size_t at, int value) {
    auto bytes = Bytes(Sample());
    bytes[at] = static_cast<std::byte>(value);
    return bytes;
  };
  CHECK_THAT(Mistake(with(4, 2)), Contains("frame version 2"));
  CHECK_THAT(Mistake(with(5, 0)), Contains("unknown frame kind 0"));
  CHECK_THAT(Mistake(with(5, 99)), Contains("unknown frame kind 99"));
  CHECK_THAT(Mistake(with(6, 0)), Contains("unknown codec 0"));
  CHECK_THAT(Mistake(with(7, 200)), Contains("unknown reason 200"));
  CHECK_THAT(Mistake(with(80, 43)), Contains("can't hold 11 floats"));
  CHECK_THAT(Mistake(with(83, 0x7f)), Contains("over the limit"));
  CHECK_THAT(Mistake(with(84, 3)), Contains("unknown content 3"));
  CHECK_THAT(Mistake(with(85, 1)), Contains("told in 16 bytes, not in 44"));
  CHECK_THAT(Mistake(with(85, 2)), Contains("unknown place 2"));
  CHECK_THAT(Mistake(with(92, 1)), Contains("reserved byte 92"));
  CHECK_THAT(Mistake(with(95, 1)), Contains("reserved byte 95"));
  FrameHeader wraps = Sample();
  wraps.elements = 0x40000001;
  wraps.payload_bytes = 4;
  CHECK_THAT(Mistake(Bytes(wraps)), Contains("can't hold"));
}

TEST_CASE("what may be shared") {
  FrameHeader header = Sample();
  header.place = PayloadPlace::kShared;
  header.payload_bytes = kSharedPlaceBytes;
  for (const FrameKind kind : {FrameKind::kSet, FrameKind::kPush, FrameKind::kPull, FrameKind::kValues,
                               FrameKind::kHello, FrameKind::kWelcome}) {
    header.kind = kind;
    const auto decoded = DecodeFrameHeader(EncodeFrameHeader(header));
    REQUIRE(decoded.ok());
    CHECK(*decoded == header);
  }
  for (const FrameKind kind : {FrameKind::kAck, FrameKind::kRefused}) {
    header.kind = kind;
    CHECK_THAT(Mistake(Bytes(header)), Contains("can't lie in shared memory"));
  }
}

TEST_CASE("no bytes at all crash the decoder, and what it takes it writes back the same") {
  std::mt19937_64 random(1);
  for (int i = 0; i < 200000; ++i) {
    std::vector<std::byte> bytes = Bytes(Sample());
    for (uint64_t flips = random() % 4; flips > 0; --flips) {
      bytes[random() % bytes.size()] = static_cast<std::byte>(random());
    }
    if (const auto header = DecodeFrameHeader(bytes); header.ok()) REQUIRE(Bytes(*header) == bytes);
  }
}

TEST_CASE("a payload reads the same however it is cut") {
  auto whole = std::make_shared<std::vector<std::byte>>();
  for (int i = 0; i < 1000; ++i) whole->push_back(static_cast<std::byte>(i));
  std::mt19937 random(2);
  for (int round = 0; round < 100; ++round) {
    std::vector<Payload::Bytes> chunks;
    for (size_t at = 0; at < whole->size();) {
      const size_t n = std::min<size_t>(random() % 40, whole->size() - at);
      chunks.push_back(Payload::Bytes(*whole).subspan(at, n));
      at += n;
    }
    const Payload payload(whole, chunks);
    REQUIRE(payload.size() == 1000);
    PayloadReader reader(payload);
    std::vector<std::byte> back;
    while (reader.left() > 0) {
      std::vector<std::byte> some(std::min<size_t>(1 + random() % 50, reader.left()));
      REQUIRE(reader.Read(some));
      back.insert(back.end(), some.begin(), some.end());
    }
    CHECK(back == *whole);
    std::byte beyond;
    CHECK_FALSE(reader.Read({&beyond, 1}));
  }
}

TEST_CASE("only a push has other workers in it, and no more than a host has") {
  FrameHeader header;
  header.kind = FrameKind::kPush;
  header.contributors = kMaxContributors;
  CHECK(DecodeFrameHeader(EncodeFrameHeader(header))->contributors == kMaxContributors);
  header.contributors = kMaxContributors + 1;
  CHECK_FALSE(DecodeFrameHeader(EncodeFrameHeader(header)).ok());
  header.contributors = 1;
  for (const FrameKind kind : {FrameKind::kHello, FrameKind::kSet, FrameKind::kAck, FrameKind::kPull, FrameKind::kValues}) {
    header.kind = kind;
    CHECK_FALSE(DecodeFrameHeader(EncodeFrameHeader(header)).ok());
  }
}

TEST_CASE("a push is visited as the pushes that are in it") {
  Message push;
  push.header.worker = 3;
  push.header.part = 8;
  push.header.sequence = 5;
  const auto visited = [&push] {
    std::vector<std::pair<uint32_t, uint64_t>> all;
    ForEachContribution(push, [&](const FrameHeader& one) {
      CHECK(one.part == 8);
      CHECK(one.contributors == 0);
      all.emplace_back(one.worker, one.sequence);
    });
    return all;
  };
  using Visits = std::vector<std::pair<uint32_t, uint64_t>>;
  CHECK(visited() == Visits{{3, 5}});
  push.contributors = {{.worker = 1, .sequence = 9}};
  push.header.contributors = 1;
  CHECK(visited() == Visits{{3, 5}, {1, 9}});
  push.header.sequence = 0;
  CHECK(visited() == Visits{{1, 9}});
}

}  // namespace
}  // namespace downpour
