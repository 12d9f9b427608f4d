#include "bench/simulation/timeline.h"

#include <catch2/catch.hpp>
#include <string>

#include "bench/simulation/draws.h"
#include "bench/simulation/network.h"
#include "bench/simulation/process.h"

namespace downpour::bench {
namespace {

TEST_CASE("things happen in order of time, and where times are equal in the order they were asked for") {
  Timeline timeline;
  std::string seen;
  timeline.At(20, [&] { seen += "c"; });
  timeline.At(10, [&] {
    seen += "a";
    timeline.At(timeline.now(), [&] { seen += "b"; });
  });
  timeline.At(20, [&] { seen += "d"; });
  while (timeline.Step()) seen += std::to_string(timeline.now());
  CHECK(seen == "a10b10c20d20");
}

Process Wait(Timeline* timeline, Signal* signal, std::string* seen) {
  co_await Sleep{timeline, 5};
  *seen += "slept ";
  co_await *signal;
  *seen += "heard";
}

TEST_CASE("a process waits for a time and for a signal") {
  Timeline timeline;
  Signal signal;
  std::string seen;
  const Process process = Wait(&timeline, &signal, &seen);
  signal.Notify();  // nobody listens yet
  CHECK(seen.empty());
  while (timeline.Step()) {
  }
  CHECK(seen == "slept ");
  CHECK(timeline.now() == 5);
  CHECK_FALSE(process.done());
  signal.Notify();
  CHECK(seen == "slept heard");
  CHECK(process.done());
  signal.Notify();
}

// A Gb/s is a bit a nanosecond.
TEST_CASE("a frame takes the time of the slower link, once, and links serve in turn") {
  Timeline timeline;
  Port slow(8);   // a byte a nanosecond
  Port fast(32);  // four
  const auto arrival = [&](Port* from, Port* to) {
    Ns arrived = 0;
    SendFrame(&timeline, from, to, 100, 1000, [&] { arrived = timeline.now(); });
    while (timeline.Step()) {
    }
    return arrived;
  };
  CHECK(arrival(&slow, &fast) == 1100);
  CHECK(fast.busy(1100) == 250);
  CHECK(slow.busy(1100) == 1000);
  CHECK(arrival(&fast, &slow) == 1100 + 1100);
  // Two from one link: the second begins when the first has gone out.
  Ns first = 0, second = 0;
  SendFrame(&timeline, &slow, &fast, 100, 1000, [&] { first = timeline.now(); });
  SendFrame(&timeline, &slow, &fast, 100, 1000, [&] { second = timeline.now(); });
  const Ns began = timeline.now();
  CHECK(slow.busy(began + 500) == 1000 + 1000 + 500);
  while (timeline.Step()) {
  }
  CHECK(first == began + 1100);
  CHECK(second == began + 2100);
  // Two from two links to one: it takes them one after the other.
  Port other(32);
  SendFrame(&timeline, &fast, &slow, 100, 1000, [&] { first = timeline.now(); });
  SendFrame(&timeline, &other, &slow, 100, 1000, [&] { second = timeline.now(); });
  while (timeline.Step()) {
  }
  CHECK(second - first == 1000);
}

TEST_CASE("steps take on average what is said of them") {
  const ComputeTimes times{.mean_ms = 100, .sigma = 0.3, .pauses_per_hour = 3600, .pause_ms = 50};
  CHECK(MeanStepMs(times, 2) == Approx(210));
  worker::Random random(1);
  double sum = 0;
  constexpr int kSteps = 40'000;
  for (int i = 0; i < kSteps; ++i) sum += static_cast<double>(DrawStep(random, times, 2)) / kNsInMs;
  CHECK(sum / kSteps == Approx(210).epsilon(0.01));
  const ComputeTimes same{.mean_ms = 100, .sigma = 0, .pauses_per_hour = 0};
  CHECK(DrawStep(random, same, 1) == 100'000'000);
}

}  // namespace
}  // namespace downpour::bench
