#include "ps/leases.h"

#include <random>

#include <catch2/catch.hpp>

namespace downpour::ps {
namespace {

using State = Leases::State;
using Joined = Leases::Joined;

FrameHeader From(uint32_t worker, uint64_t fence) {
  FrameHeader header;
  header.worker = worker;
  header.fence = fence;
  return header;
}

TEST_CASE("a partition belongs to its newest attempt") {
  Leases leases(2);
  CHECK(leases.Of(0) == State::kAbsent);
  CHECK(leases.first_join_ms() == -1);
  CHECK(leases.Join(0, 5, 0, 100) == Joined::kNewer);
  CHECK(leases.Join(0, 5, 0, 200) == Joined::kAgain);
  CHECK(leases.Join(0, 4, 0, 200) == Joined::kRefused);
  CHECK(leases.Join(2, 9, 0, 200) == Joined::kRefused);
  CHECK(leases.first_join_ms() == 100);
  CHECK(leases.Holds(From(0, 5)));
  CHECK(leases.Join(0, 7, 0, 300) == Joined::kNewer);
  CHECK(leases.Holds(From(0, 7)));
  CHECK_FALSE(leases.End(0, 5, true));
  CHECK(leases.Of(0) == State::kLive);
  CHECK(leases.End(0, 7, true));
  CHECK(leases.Of(0) == State::kEnded);
  CHECK_FALSE(leases.End(0, 7, true));
  CHECK_FALSE(leases.End(2, 7, true));
  CHECK_FALSE(leases.Holds(From(0, 7)));
  // The same process again, after it was taken for lost.
  CHECK(leases.Join(0, 7, 0, 400) == Joined::kAgain);
  CHECK(leases.Of(0) == State::kLive);
}

TEST_CASE("after any comings and goings as many are absent as say so") {
  constexpr uint32_t kPartitions = 4;
  std::mt19937 random(1);
  Leases leases(kPartitions);
  CHECK(leases.absent() == kPartitions);
  for (uint32_t i = 0; i < 5000; ++i) {
    const uint32_t partition = random() % (kPartitions + 1);
    if (random() % 2 == 0) {
      leases.Join(partition, random() % 8, i / 1000 + random() % 2, i);
    } else {
      leases.End(partition, random() % 8, random() % 2 == 0);
    }
    uint32_t absent = 0;
    for (uint32_t p = 0; p < kPartitions; ++p) absent += leases.Of(p) == State::kAbsent;
    CAPTURE(i);
    REQUIRE(leases.absent() == absent);
  }
}

TEST_CASE("why a frame without a lease is refused") {
  Leases leases(2);
  leases.Join(0, 5, 0, 0);
  leases.Join(1, 6, 0, 0);
  leases.End(1, 6, true);
  const struct {
    FrameHeader frame;
    Refusal reason;
    const char* sentence;
  } table[] = {
      {From(2, 5), Refusal::kFenced, "the job has no partition 2"},
      {From(0, 4), Refusal::kFenced, "a newer attempt holds partition 0"},
      {From(0, 0), Refusal::kFenced, "a newer attempt holds partition 0"},
      {From(0, 9), Refusal::kFenced, "fence 9 holds no lease of partition 0"},
      {From(1, 6), Refusal::kLeaseEnded, "the lease of partition 1 has ended"},
      {From(1, 5), Refusal::kFenced, "a newer attempt holds partition 1"},
  };
  for (const auto& row : table) {
    CHECK_FALSE(leases.Holds(row.frame));
    const Leases::Doubt doubt = leases.WhyNot(row.frame);
    CHECK(doubt.reason == row.reason);
    CHECK(doubt.sentence == row.sentence);
  }
  // Whom nobody has told of has no lease, whatever it says.
  CHECK_FALSE(Leases(1).Holds(From(0, 0)));
}

TEST_CASE("nobody is left when all have come and gone") {
  Leases leases(2);
  leases.Join(0, 1, 0, 0);
  leases.End(0, 1, true);
  CHECK_FALSE(leases.NobodyIsLeft());
  leases.Join(1, 2, 0, 0);
  CHECK_FALSE(leases.NobodyIsLeft());
  leases.End(1, 2, true);
  CHECK(leases.NobodyIsLeft());
  leases.Join(1, 3, 0, 0);
  CHECK_FALSE(leases.NobodyIsLeft());
}

TEST_CASE("when a later generation has begun, those of an earlier one that end will come again") {
  Leases leases(3);
  for (uint32_t i = 0; i < 3; ++i) leases.Join(i, 1 + i, 5, 0);
  leases.End(0, 1, true);
  CHECK(leases.Of(0) == State::kEnded);
  leases.Join(1, 7, 6, 100);
  CHECK(leases.generation() == 6);
  CHECK(leases.Of(0) == State::kAbsent);  // it had ended before
  CHECK(leases.Of(2) == State::kLive);    // it has not noticed yet
  leases.End(2, 3, true);
  CHECK(leases.Of(2) == State::kAbsent);
  leases.End(1, 7, true);
  CHECK(leases.Of(1) == State::kEnded);
  CHECK_FALSE(leases.NobodyIsLeft());
  leases.Join(0, 8, 6, 200);
  leases.Join(2, 9, 6, 200);
  CHECK(leases.Of(0) == State::kLive);
  leases.End(0, 8, true);
  leases.End(2, 9, true);
  CHECK(leases.NobodyIsLeft());
}

TEST_CASE("of a generation, who ends and is not done will come again") {
  Leases leases(2);
  leases.Join(0, 1, 1, 0);
  leases.Join(1, 2, 1, 0);
  leases.End(0, 1, false);
  CHECK(leases.Of(0) == State::kAbsent);
  leases.End(1, 2, true);
  CHECK(leases.Of(1) == State::kEnded);
  CHECK_FALSE(leases.NobodyIsLeft());
  // Without generations nobody is known to come again.
  Leases each_by_itself(1);
  each_by_itself.Join(0, 1, 0, 0);
  each_by_itself.End(0, 1, false);
  CHECK(each_by_itself.Of(0) == State::kEnded);
}

TEST_CASE("observers hold no partition") {
  Leases leases(1);
  leases.Observe(3);
  CHECK(leases.IsObserver(3));
  CHECK_FALSE(leases.Holds(From(0, 3)));
  CHECK(leases.Of(0) == State::kAbsent);
  CHECK(leases.EndObserving(3));
  CHECK_FALSE(leases.EndObserving(3));
  CHECK_FALSE(leases.IsObserver(3));
}

}  // namespace
}  // namespace downpour::ps
