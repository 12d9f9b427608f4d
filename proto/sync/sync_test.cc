#include <catch2/catch.hpp>

#include "proto/job.pb.h"
#include "proto/key.pb.h"
#include "proto/sync/mode.h"

namespace downpour {
namespace {

constexpr auto kAbsent = Membership::kAbsent;
constexpr auto kLive = Membership::kLive;
constexpr auto kGone = Membership::kGone;

TEST_CASE("the table and the job file know the same modes") {
  const auto& choices = Sync::descriptor()->FindFieldByName("mode")->options().GetExtension(key).choices();
  std::vector<std::string> names;
  for (const SyncMode* mode : SyncModes()) {
    names.emplace_back(mode->name);
    CHECK(*FindSyncMode(mode->name) == mode);
    CHECK(mode->on_push != nullptr);
    CHECK(mode->closes != nullptr);
    CHECK(mode->may_read != nullptr);
    CHECK(mode->on_step != nullptr);
  }
  CHECK(names == std::vector<std::string>(choices.begin(), choices.end()));
  CHECK_THAT(std::string(FindSyncMode("hogwild").status().message()), Catch::Contains("downpour, asp, bsp"));
}

TEST_CASE("weak modes apply at once and read at once, whatever the others do") {
  for (const SyncMode* mode : {&kDownpour, &kAsp}) {
    for (const Membership other : {kAbsent, kLive, kGone}) {
      const std::vector<MemberView> members{{kLive, 5}, {other, 0}};
      const PartView view{.clock = 0, .held = 0, .members = members};
      CHECK(mode->on_push(view, {.worker = 0, .clock = 5}) == PushDecision{PushAction::kApply});
      CHECK_FALSE(mode->closes(view));
      CHECK(mode->may_read(view, 7) == ReadAction::kNow);
    }
  }
}

TEST_CASE("bsp takes only pushes of the open clock, and holds them") {
  struct Row {
    uint64_t open, pushed;
    PushDecision decision;
  };
  const Row table[] = {
      {0, 0, {PushAction::kHold}},
      {3, 3, {PushAction::kHold}},
      {3, 2, {PushAction::kRefuse, Refusal::kClockClosed}},
      {3, 4, {PushAction::kRefuse, Refusal::kClockAhead}},
  };
  for (const Row& row : table) {
    CAPTURE(row.open, row.pushed);
    CHECK(kBsp.on_push({.clock = row.open}, {.worker = 0, .clock = row.pushed}) == row.decision);
  }
}

TEST_CASE("bsp closes a clock when everybody who is to come or is there has pushed it") {
  struct Row {
    uint32_t held;
    std::vector<MemberView> members;
    bool closes;
  };
  const Row table[] = {
      {0, {{kLive, 3}, {kLive, 3}}, false},
      {1, {{kLive, 4}, {kLive, 3}}, false},
      {2, {{kLive, 4}, {kLive, 4}}, true},
      {1, {{kLive, 4}, {kAbsent, 0}}, false},
      {1, {{kLive, 4}, {kGone, 3}}, true},
      {1, {{kGone, 4}, {kLive, 3}}, false},
      {1, {{kGone, 4}, {kGone, 2}}, true},
      {0, {{kGone, 3}, {kGone, 3}}, false},
  };
  for (const Row& row : table) {
    CAPTURE(row.held, row.members.size());
    CHECK(kBsp.closes({.clock = 3, .held = row.held, .members = row.members}) == row.closes);
  }
}

TEST_CASE("bsp reads wait for their clock") {
  CHECK(kBsp.may_read({.clock = 3}, 3) == ReadAction::kNow);
  CHECK(kBsp.may_read({.clock = 4}, 3) == ReadAction::kNow);
  CHECK(kBsp.may_read({.clock = 2}, 3) == ReadAction::kWhenClosed);
}

Sync Settings(uint32_t n_fetch, uint32_t n_push, bool wait) {
  Sync sync;
  sync.set_n_fetch(n_fetch);
  sync.set_n_push(n_push);
  sync.set_wait(wait);
  sync.set_local_step(true);
  sync.set_max_pushes_in_flight(2);
  return sync;
}

TEST_CASE("downpour's worker follows algorithm 7.1") {
  struct Row {
    WorkerView view;
    bool wait;
    StepPlan plan;
  };
  const Row table[] = {
      // The first step has nothing to compute with until a fetch has come, wherever the attempt begins.
      {{.step = 0}, false, {.fetch = true, .wait_for_fetch = true, .local_step = true, .pushes_in_flight = 2}},
      {{.step = 7, .first_step = 7},
       false,
       {.fetch = true, .wait_for_fetch = true, .local_step = true, .push = true, .pushes_in_flight = 2}},
      {{.step = 1}, false, {.local_step = true, .push = true, .pushes_in_flight = 2}},
      {{.step = 3}, false, {.fetch = true, .local_step = true, .push = true, .pushes_in_flight = 2}},
      {{.step = 3, .fetch_in_flight = true}, false, {.local_step = true, .push = true, .pushes_in_flight = 2}},
      {{.step = 4}, true, {.wait_for_fetch = true, .local_step = true, .pushes_in_flight = 0}},
      {{.step = 3}, true, {.fetch = true, .wait_for_fetch = true, .local_step = true, .push = true}},
  };
  for (const Row& row : table) {
    CAPTURE(row.view.step, row.view.first_step, row.view.fetch_in_flight, row.wait);
    CHECK(kDownpour.on_step(Settings(3, 2, row.wait), row.view) == row.plan);
  }
}

TEST_CASE("asp's worker fetches and pushes each step, and waits only when told") {
  CHECK(kAsp.on_step(Settings(0, 0, false), {.step = 4}) ==
        StepPlan{.fetch = true, .push = true, .pushes_in_flight = 2});
  CHECK(kAsp.on_step(Settings(0, 0, false), {.step = 4, .fetch_in_flight = true}) ==
        StepPlan{.push = true, .pushes_in_flight = 2});
  CHECK(kAsp.on_step(Settings(0, 0, true), {.step = 4}) ==
        StepPlan{.fetch = true, .wait_for_fetch = true, .push = true});
}

TEST_CASE("bsp's worker waits for the clock of its step") {
  CHECK(kBsp.on_step(Settings(0, 0, false), {.step = 4}) ==
        StepPlan{.fetch = true, .fetch_clock = 4, .wait_for_fetch = true, .push = true, .pushes_in_flight = 1});
}

}  // namespace
}  // namespace downpour
