#include "ps/member_clocks.h"

#include <catch2/catch.hpp>
#include <random>

namespace downpour::ps {
namespace {

TEST_CASE("the slowest is the one that is there and least far") {
  MemberClocks clocks(3);
  CHECK_FALSE(clocks.anybody_is_live());
  CHECK(clocks.slowest() == 0);
  clocks.Set(0, {Membership::kLive, 7});
  CHECK(clocks.slowest() == 7);
  clocks.Set(2, {Membership::kLive, 5});
  CHECK(clocks.slowest() == 5);
  // Who is not there counts for nothing.
  clocks.SetClock(1, 1);
  CHECK(clocks.slowest() == 5);
  clocks.SetClock(2, 9);
  CHECK(clocks.slowest() == 7);
  clocks.SetMembership(0, Membership::kGone);
  CHECK(clocks.slowest() == 9);
  clocks.SetMembership(2, Membership::kGone);
  CHECK_FALSE(clocks.anybody_is_live());
  CHECK(clocks.slowest() == 0);
  CHECK(clocks[1].clock == 1);
}

TEST_CASE("after any changes it is as if all had been looked at") {
  constexpr size_t kPartitions = 6;
  std::mt19937 random(1);
  MemberClocks clocks(kPartitions);
  for (int i = 0; i < 5000; ++i) {
    clocks.Set(random() % kPartitions, {static_cast<Membership>(random() % 3), random() % 5});
    CAPTURE(i);
    REQUIRE(clocks.slowest() == SlowestClock(clocks.views()));
  }
}

}  // namespace
}  // namespace downpour::ps
