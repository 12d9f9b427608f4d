#include "worker/epoch_history.h"

#include <catch2/catch.hpp>

namespace downpour::worker {
namespace {

TEST_CASE("each batch counts for the epoch in which it ends, by its weight") {
  EpochHistory history(10, 3);
  history.Add(8, {.loss_sum = 8, .correct = 4, .weight = 8});
  history.Add(10, {.loss_sum = 12, .correct = 1, .weight = 2});
  history.SetHeldOut(10, {.loss_sum = 3, .correct = 1, .weight = 4});
  history.Add(18, {.loss_sum = 24, .correct = 8, .weight = 8});
  REQUIRE(history.results().size() == 2);
  CHECK(history.results()[0].train.loss() == 2);
  CHECK(history.results()[0].train.accuracy() == 0.5);
  CHECK(history.results()[0].held_out.loss() == 0.75);
  CHECK(history.results()[0].held_out.accuracy() == 0.25);
  CHECK(history.results()[1].train.loss() == 3);
  CHECK(history.results()[1].held_out.weight == 0);
  history.Add(20, {.loss_sum = INFINITY, .correct = 2, .weight = 2});
  CHECK(history.results()[1].train.weight == 8);
  history.Add(30, {.loss_sum = 5, .weight = 10});
  history.Add(40, {.loss_sum = 9, .weight = 10});  // there is no such epoch
  REQUIRE(history.results().size() == 3);
  CHECK(history.results()[2].train.loss() == 0.5);
}

TEST_CASE("a later attempt has not seen the epochs before") {
  EpochHistory history(10, 5);
  history.Add(30, {.loss_sum = 40, .weight = 10});
  REQUIRE(history.results().size() == 3);
  CHECK(history.results()[0].train.weight == 0);
  CHECK(history.results()[1].train.weight == 0);
  CHECK(history.results()[2].train.loss() == 4);
}

TEST_CASE("no samples and many epochs") {
  CHECK(EpochHistory(0, 5).results().empty());
  EpochHistory history(1, 4'000'000'000);
  for (std::uint64_t i = 1; i <= 1100; ++i) history.Add(i, {.loss_sum = 1, .weight = 1});
  CHECK(history.results().size() == EpochHistory::kMost);
}

}  // namespace
}  // namespace downpour::worker
