#include "ps/service/intake.h"

#include <catch2/catch.hpp>
#include <utility>

namespace downpour::ps {
namespace {

constexpr uint64_t kCredit = 1000;

std::shared_ptr<const Directory> TwoParts() {
  auto directory = std::make_shared<Directory>();
  directory->map_version = 1;
  directory->workers = 4;
  directory->parts = {{.shard = 3, .elements = 100}, {.shard = -1, .elements = 100}};
  directory->parts_here = 1;
  return directory;
}

FrameHeader Frame(FrameKind kind) {
  FrameHeader header;
  header.kind = kind;
  header.job = 9;
  header.map_version = 1;
  header.worker = 2;
  header.fence = 5;
  if (kind != FrameKind::kPull) {
    header.elements = 100;
    header.payload_bytes = 400;
  }
  return header;
}

Intake MakeIntake() { return Intake(TwoParts(), Frame(FrameKind::kHello), kCredit); }

TEST_CASE("frames of the worker that said hello go where their part is") {
  for (const FrameKind kind : {FrameKind::kSet, FrameKind::kPush, FrameKind::kPull}) {
    const auto verdict = MakeIntake().Take(Frame(kind));
    CHECK(verdict.shard == 3u);
    CHECK(verdict.reason == Refusal::kNone);
    CHECK(verdict.end.ok());
  }
}

TEST_CASE("a frame that makes no sense here is refused, one that makes none anywhere ends the stream") {
  const auto changed = [](auto change, FrameKind kind = FrameKind::kPush) {
    FrameHeader header = Frame(kind);
    change(header);
    return header;
  };
  const struct {
    FrameHeader frame;
    Refusal reason;
    bool end;
  } table[] = {
      {changed([](auto& h) { h.part = 1; }), Refusal::kMalformed, false},
      {changed([](auto& h) { h.part = 2; }), Refusal::kMalformed, false},
      {changed([](auto& h) { h.table = 1; }), Refusal::kMalformed, false},
      {changed([](auto& h) { h.elements = 99; }), Refusal::kMalformed, false},
      {changed([](auto& h) { h.payload_bytes = 4; }, FrameKind::kPull), Refusal::kMalformed, false},
      {changed([](auto& h) { h.map_version = 2; }), Refusal::kWrongMap, false},
      {changed([](auto& h) { h.worker = 3; }), Refusal::kMalformed, true},
      {changed([](auto& h) { h.fence = 6; }), Refusal::kMalformed, true},
      {changed([](auto& h) { h.job = 8; }), Refusal::kMalformed, true},
      {changed([](auto& h) { h.contributors = 4; }), Refusal::kMalformed, true},
      {Frame(FrameKind::kHello), Refusal::kMalformed, true},
      {Frame(FrameKind::kValues), Refusal::kMalformed, true},
      {changed([](auto& h) { h.payload_bytes = kCredit + 1; }), Refusal::kOverload, true},
  };
  for (const auto& row : table) {
    CAPTURE(&row - table);
    Intake intake = MakeIntake();
    const auto verdict = intake.Take(row.frame);
    CHECK_FALSE(verdict.shard);
    CHECK(verdict.reason == row.reason);
    CHECK(verdict.end.ok() == !row.end);
    CHECK(verdict.sentence.empty() == row.end);
    // What is refused has an answer too, and counts until that is sent.
    CHECK(intake.unanswered() == (row.end ? 0 : 1));
  }
}

TEST_CASE("credit is for bytes that have no answer, and pulls have a number of their own") {
  Intake intake = MakeIntake();
  CHECK(intake.Take(Frame(FrameKind::kPush)).shard);
  CHECK(intake.Take(Frame(FrameKind::kPush)).shard);
  CHECK_FALSE(intake.Take(Frame(FrameKind::kPush)).end.ok());
  intake.Release(FrameKind::kAck, 400);
  CHECK(intake.Take(Frame(FrameKind::kPush)).shard);
  CHECK(intake.unanswered() == 2);
  int pulls = 0;
  while (intake.Take(Frame(FrameKind::kPull)).end.ok()) REQUIRE(++pulls < 1000);
  CHECK(pulls == 16 + 4);
  CHECK(intake.unanswered() == 2 + 20);
  intake.Release(FrameKind::kRefused, 0);
  intake.Release(FrameKind::kValues, 0);
  CHECK(intake.unanswered() == 2 + 18);
}

}  // namespace
}  // namespace downpour::ps
