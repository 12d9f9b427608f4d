#include "worker/epoch_losses.h"

#include <catch2/catch.hpp>

namespace downpour::worker {
namespace {

TEST_CASE("each batch counts for the epoch in which it ends, by its samples") {
  EpochLosses losses(10, 3);
  losses.Add(8, 8, 1);
  losses.Add(10, 2, 6);
  losses.Add(18, 8, 3);
  CHECK(losses.Means() == std::vector<double>{2, 3});
  losses.Add(20, 2, INFINITY);
  losses.Add(30, 10, 0.5f);
  losses.Add(40, 10, 9);  // there is no such epoch
  CHECK(losses.Means() == std::vector<double>{2, 3, 0.5});
}

TEST_CASE("a later attempt has not seen the epochs before") {
  EpochLosses losses(10, 5);
  losses.Add(30, 10, 4);
  const auto means = losses.Means();
  REQUIRE(means.size() == 3);
  CHECK(std::isnan(means[0]));
  CHECK(std::isnan(means[1]));
  CHECK(means[2] == 4);
}

TEST_CASE("no samples and many epochs") {
  CHECK(EpochLosses(0, 5).Means().empty());
  EpochLosses losses(1, 4'000'000'000);
  for (std::uint64_t i = 1; i <= 1100; ++i) losses.Add(i, 1, 1);
  CHECK(losses.Means().size() == EpochLosses::kMost);
}

}  // namespace
}  // namespace downpour::worker
