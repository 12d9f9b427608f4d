#include "worker/congestion_control.h"

#include <catch2/catch.hpp>

namespace downpour::worker {
namespace {

TEST_CASE("what is busy, fair and calm") {
  struct Row {
    double waited, round_trip;
    uint32_t every;
    WireVerdict verdict;
  };
  for (const Row& row :
       {Row{0, 0, 0, WireVerdict::kCalm}, Row{0.02, 0, 0, WireVerdict::kCalm}, Row{0.05, 0, 0, WireVerdict::kFair},
        Row{0.11, 0, 0, WireVerdict::kBusy}, Row{0, 0.4, 5, WireVerdict::kCalm}, Row{0, 0.6, 5, WireVerdict::kFair},
        Row{0, 1.1, 5, WireVerdict::kBusy}, Row{0, 9, 0, WireVerdict::kCalm}, Row{0.5, 0.1, 5, WireVerdict::kBusy},
        Row{0, 1.1, 50, WireVerdict::kCalm}}) {
    CAPTURE(row.waited, row.round_trip, row.every);
    WireWindow window;
    window.seconds = 2;
    window.waited_seconds = 2 * row.waited;
    window.fetch_round_trip = row.round_trip;
    window.steps = 10;
    window.fetch_every = row.every;
    CHECK(Judge(window) == row.verdict);
  }
  CHECK(Judge({}) == WireVerdict::kCalm);
}

constexpr WireWindow kBusy = {.seconds = 1, .waited_seconds = 0.5};
constexpr WireWindow kFair = {.seconds = 1, .waited_seconds = 0.05};
constexpr WireWindow kCalm = {.seconds = 1, .waited_seconds = 0};

// How many calm stretches it takes until the level changes; 0 for more than 1000.
int CalmUntilChange(CongestionControl* control) {
  for (int i = 1; i <= 1000; ++i) {
    if (control->OnWindow(kCalm)) return i;
  }
  return 0;
}

TEST_CASE("less is sent at once, more after a while, longer after each time that it was too early") {
  CongestionControl control(3);
  CHECK_FALSE(control.OnWindow(kCalm));
  CHECK(control.OnWindow(kBusy));
  CHECK_FALSE(control.OnWindow(kBusy));  // still of what was sent before
  CHECK(control.OnWindow(kBusy));
  CHECK(control.level() == 2);
  CHECK_FALSE(control.OnWindow(kBusy));
  CHECK_FALSE(control.OnWindow(kBusy));
  CHECK_FALSE(control.OnWindow(kFair));
  CHECK(control.level() == 2);
  CHECK(CalmUntilChange(&control) == 4);
  CHECK(control.level() == 1);
  CHECK_FALSE(control.OnWindow(kBusy));
  CHECK(control.OnWindow(kBusy));
  CHECK(control.level() == 2);
  CHECK(CalmUntilChange(&control) == 1 + 8);
  CHECK(CalmUntilChange(&control) == 1 + 8);  // and that was not too early, so the next is a while shorter
  CHECK(control.level() == 0);
  CHECK(CalmUntilChange(&control) == 0);
  CHECK(control.changes() == 6);
  for (int i = 0; i < 10; ++i) {
    while (!control.OnWindow(kBusy)) {
    }
    CHECK(CalmUntilChange(&control) > 0);
  }
  while (!control.OnWindow(kBusy)) {
  }
  CHECK(CalmUntilChange(&control) == 1 + 64);
  // After calm for long enough it is forgotten.
  CHECK(CalmUntilChange(&control) == 0);
  while (!control.OnWindow(kBusy)) {
  }
  CHECK(CalmUntilChange(&control) < 1 + 64);
}

TEST_CASE("a stretch says enough after some pushes and a second, or five seconds") {
  CHECK_FALSE(LongEnough(3, 4.9));
  CHECK(LongEnough(3, 5));
  CHECK_FALSE(LongEnough(4, 0.9));
  CHECK(LongEnough(4, 1));
  CHECK_FALSE(LongEnough(0, 0));
}

WireWindow BusyAt(uint64_t steps) { return {.seconds = 1, .waited_seconds = 0.5, .steps = steps}; }

TEST_CASE("where sending less makes steps no faster, more is sent again, and it is a while until the next try") {
  CongestionControl control(4);
  CHECK(control.OnWindow(BusyAt(100)));
  CHECK_FALSE(control.OnWindow(BusyAt(900)));  // does not count
  CHECK(control.OnWindow(BusyAt(104)));
  CHECK(control.level() == 0);
  // How many busy stretches it takes to try again.
  const auto until_raised = [&] {
    for (int i = 1; i < 1000; ++i) {
      if (control.OnWindow(BusyAt(100))) return i;
    }
    return 0;
  };
  CHECK(until_raised() == 1 + 4 + 1);
  CHECK(control.level() == 1);
  CHECK_FALSE(control.OnWindow(BusyAt(100)));
  CHECK(control.OnWindow(BusyAt(100)));
  CHECK(until_raised() == 1 + 8 + 1);
  // Now it helps: up again at once, and the next rest is a short one.
  CHECK_FALSE(control.OnWindow(BusyAt(200)));
  CHECK(control.OnWindow(BusyAt(200)));
  CHECK(control.level() == 2);
  CHECK_FALSE(control.OnWindow(BusyAt(200)));
  CHECK(control.OnWindow(BusyAt(200)));
  CHECK(control.level() == 1);
  CHECK(until_raised() == 1 + 4 + 1);
  // What ends the waiting has helped, however fast steps are.
  CHECK_FALSE(control.OnWindow(kFair));
  CHECK_FALSE(control.OnWindow(kFair));
  CHECK(control.level() == 2);
}

TEST_CASE("where fetches are late sending less is of use as they come sooner, however fast steps are") {
  const auto late = [](double times) {
    return WireWindow{.seconds = 1, .fetch_round_trip = times * 0.5, .steps = 10, .fetch_every = 5};
  };
  CongestionControl control(4);
  CHECK(control.OnWindow(late(4)));
  CHECK_FALSE(control.OnWindow(late(4)));
  CHECK(control.OnWindow(late(2)));
  CHECK(control.level() == 2);
  CHECK_FALSE(control.OnWindow(late(2)));
  CHECK(control.OnWindow(late(1.98)));
  CHECK(control.level() == 1);
}

TEST_CASE("what was of no use before a calm while is tried at once after it") {
  CongestionControl control(4);
  CHECK(control.OnWindow(BusyAt(100)));
  CHECK_FALSE(control.OnWindow(BusyAt(100)));
  CHECK(control.OnWindow(BusyAt(100)));
  for (int i = 0; i < 5; ++i) CHECK_FALSE(control.OnWindow(kCalm));
  CHECK(control.OnWindow(BusyAt(100)));
  CHECK(control.level() == 1);
}

TEST_CASE("calm has to be without a break") {
  CongestionControl control(2);
  control.OnWindow(kBusy);
  for (int i = 0; i < 20; ++i) CHECK_FALSE(control.OnWindow(i % 4 == 3 ? kFair : kCalm));
}

TEST_CASE("with one level nothing changes") {
  CongestionControl control(1);
  CHECK_FALSE(control.OnWindow(kBusy));
  CHECK(control.level() == 0);
}

}  // namespace
}  // namespace downpour::worker
