#include "worker/slow_down.h"

#include <catch2/catch.hpp>
#include <thread>

namespace downpour::worker {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

Clock::duration StepWith(double factor, Clock::duration compute) {
  SlowDown slow_down(factor);
  const auto begun = Clock::now();
  slow_down.Before();
  if (compute > compute.zero()) std::this_thread::sleep_for(compute);
  slow_down.After();
  return Clock::now() - begun;
}

TEST_CASE("a step takes so many times as long as it computes") {
  CHECK(StepWith(3, milliseconds(10)) >= milliseconds(30));
  CHECK(StepWith(1.5, milliseconds(20)) >= milliseconds(30));
}

TEST_CASE("without a factor nothing is waited for") {
  auto least = Clock::duration::max();
  for (int i = 0; i < 20; ++i) least = std::min(least, StepWith(1, milliseconds(0)));
  CHECK(least < milliseconds(1));
}

}  // namespace
}  // namespace downpour::worker
