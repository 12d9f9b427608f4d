#include "worker/send_budget.h"

#include <catch2/catch.hpp>

namespace downpour::worker {
namespace {

TEST_CASE("a budget fills with the time, up to a second's worth, and may be overdrawn") {
  SendBudget budget(1000);
  CHECK(budget.bounded());
  CHECK(budget.At(5) == 1000);
  budget.Spend(1500);
  CHECK(budget.At(5) == -500);
  CHECK(budget.At(5.25) == Approx(-250));
  CHECK(budget.At(6) == Approx(500));
  CHECK(budget.At(100) == 1000);
  CHECK_FALSE(SendBudget(0).bounded());
}

}  // namespace
}  // namespace downpour::worker
