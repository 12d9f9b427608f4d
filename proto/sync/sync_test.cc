#include <catch2/catch.hpp>

#include "proto/job.pb.h"
#include "proto/key.pb.h"
#include "proto/sync/mode.h"

namespace downpour {
namespace {

constexpr auto kAbsent = Membership::kAbsent;
constexpr auto kLive = Membership::kLive;
constexpr auto kGone = Membership::kGone;

const Sync kNoSettings;

TEST_CASE("the table and the job file know the same modes") {
  const auto& choices = Sync::descriptor()->FindFieldByName("mode")->options().GetExtension(key).choices();
  std::vector<std::string> names;
  for (const SyncMode* mode : SyncModes()) {
    names.emplace_back(mode->name);
    CHECK(*FindSyncMode(mode->name) == mode);
    CHECK(mode->coupling != nullptr);
    CHECK(mode->on_push != nullptr);
    CHECK(mode->closes != nullptr);
    CHECK(mode->read_clock != nullptr);
    CHECK(mode->entry_clock != nullptr);
    CHECK(mode->on_step != nullptr);
    CHECK(mode->steps_a_clock != nullptr);
  }
  CHECK(names == std::vector<std::string>(choices.begin(), choices.end()));
  CHECK_THAT(std::string(FindSyncMode("hogwild").status().message()), Catch::Contains("downpour, asp, bsp, ssp"));
}

TEST_CASE("what each mode exchanges, how tightly, and where the shards live") {
  Sync in_rounds;
  in_rounds.set_rounds(true);
  in_rounds.set_tau(7);
  struct Row {
    const SyncMode* mode;
    Sync settings;
    PushContent content;
    Coupling coupling;
    bool peers;
    uint64_t steps_a_clock;
  };
  const Row table[] = {
      {&kDownpour, {}, PushContent::kGradient, Coupling::kNone, false, 1},
      {&kAsp, {}, PushContent::kGradient, Coupling::kNone, false, 1},
      {&kBsp, {}, PushContent::kGradient, Coupling::kRounds, false, 1},
      {&kSsp, {}, PushContent::kGradient, Coupling::kBounded, false, 1},
      {&kLocalSgd, in_rounds, PushContent::kParameters, Coupling::kRounds, false, 7},
      {&kEasgd, {}, PushContent::kDifference, Coupling::kNone, false, 1},
      {&kEasgd, in_rounds, PushContent::kDifference, Coupling::kRounds, false, 7},
      {&kPeer, {}, PushContent::kGradient, Coupling::kRounds, true, 1},
  };
  for (const Row& row : table) {
    CAPTURE(std::string(row.mode->name), row.settings.rounds());
    CHECK(row.mode->content == row.content);
    CHECK(row.mode->coupling(row.settings) == row.coupling);
    CHECK(IsStrong(*row.mode, row.settings) == (row.coupling == Coupling::kRounds));
    CHECK(row.mode->peers == row.peers);
    CHECK(row.mode->steps_a_clock(row.settings) == row.steps_a_clock);
  }
}

TEST_CASE("weak modes apply at once and read at once, whatever the others do") {
  for (const SyncMode* mode : {&kDownpour, &kAsp, &kEasgd}) {
    for (const Membership other : {kAbsent, kLive, kGone}) {
      const std::vector<MemberView> members{{kLive, 5}, {other, 0}};
      const PartView view{.clock = 0, .held = 0, .members = members, .slowest = SlowestClock(members)};
      CHECK(mode->on_push(kNoSettings, view, {.worker = 0, .clock = 5}) == PushDecision{PushAction::kApply});
      CHECK_FALSE(mode->closes(kNoSettings, view));
      CHECK(mode->entry_clock(view) == 0);
    }
  }
  CHECK(kDownpour.read_clock({}) == kAnyClock);
  CHECK(kAsp.read_clock({}) == kAnyClock);
}

// The modes whose server half counts rounds, with settings that make them.
struct InRounds {
  const SyncMode* mode;
  Sync settings;
};

std::vector<InRounds> RoundsModes() {
  Sync rounds;
  rounds.set_rounds(true);
  return {{&kBsp, {}}, {&kPeer, {}}, {&kLocalSgd, {}}, {&kEasgd, rounds}};
}

TEST_CASE("in rounds only pushes of the open clock are taken, and held") {
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
  for (const InRounds& in : RoundsModes()) {
    for (const Row& row : table) {
      CAPTURE(std::string(in.mode->name), row.open, row.pushed);
      CHECK(in.mode->on_push(in.settings, {.clock = row.open}, {.worker = 0, .clock = row.pushed}) == row.decision);
    }
  }
}

TEST_CASE("a clock closes when everybody who is to come or is there has pushed it") {
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
      // All that was pushed were duplicates.
      {0, {{kLive, 4}, {kLive, 4}}, true},
      {0, {{kLive, 4}, {kGone, 3}}, true},
      {0, {{kLive, 4}, {kLive, 3}}, false},
      {0, {{kLive, 3}, {kLive, 3}}, false},
  };
  for (const InRounds& in : RoundsModes()) {
    for (const Row& row : table) {
      CAPTURE(std::string(in.mode->name), row.held, row.members.size());
      CHECK(in.mode->closes(in.settings, {.clock = 3, .held = row.held, .members = row.members}) == row.closes);
    }
    CHECK(in.mode->read_clock({.clock = 4}) == 4);
    CHECK(in.mode->entry_clock({.clock = 4}) == 4);
  }
}

TEST_CASE("bsp with backup workers closes with the first of the pushes") {
  struct Row {
    uint32_t backups, held;
    std::vector<MemberView> members;
    bool closes;
  };
  const Row table[] = {
      {1, 1, {{kLive, 4}, {kLive, 3}, {kLive, 3}}, false},
      {1, 2, {{kLive, 4}, {kLive, 4}, {kLive, 3}}, true},
      {1, 2, {{kLive, 4}, {kLive, 4}, {kAbsent, 0}}, true},
      {2, 1, {{kLive, 4}, {kLive, 3}, {kLive, 3}}, true},
      {2, 0, {{kLive, 3}, {kLive, 3}, {kLive, 3}}, false},
      // One is gone already: it is the one that nobody waits for.
      {1, 1, {{kLive, 4}, {kLive, 3}, {kGone, 3}}, false},
      {1, 1, {{kLive, 4}, {kGone, 3}, {kGone, 3}}, true},
  };
  for (const Row& row : table) {
    CAPTURE(row.backups, row.held);
    Sync settings;
    settings.set_backup_workers(row.backups);
    CHECK(kBsp.closes(settings, {.clock = 3, .held = row.held, .members = row.members}) == row.closes);
  }
}

TEST_CASE("ssp lets nobody be more than s clocks ahead of the slowest that is there") {
  struct Row {
    uint32_t s;
    uint64_t pushed;
    std::vector<MemberView> members;
    PushDecision decision;
  };
  const PushDecision ahead{PushAction::kRefuse, Refusal::kClockAhead};
  const Row table[] = {
      {0, 0, {{kLive, 0}, {kLive, 0}}, {PushAction::kApply}},
      {0, 1, {{kLive, 1}, {kLive, 0}}, ahead},
      {0, 1, {{kLive, 1}, {kLive, 1}}, {PushAction::kApply}},
      {3, 3, {{kLive, 3}, {kLive, 0}}, {PushAction::kApply}},
      {3, 4, {{kLive, 4}, {kLive, 0}}, ahead},
      {3, 40, {{kLive, 40}, {kGone, 0}}, {PushAction::kApply}},
      {3, 40, {{kLive, 40}, {kAbsent, 0}}, {PushAction::kApply}},
  };
  for (const Row& row : table) {
    CAPTURE(row.s, row.pushed, row.members[1].clock);
    Sync settings;
    settings.set_s(row.s);
    const PartView view{.members = row.members, .slowest = SlowestClock(row.members)};
    CHECK(kSsp.on_push(settings, view, {.worker = 0, .clock = row.pushed}) == row.decision);
    CHECK_FALSE(kSsp.closes(settings, view));
  }
}

TEST_CASE("ssp's reads see the clock of the slowest that is there, and newcomers begin at it") {
  struct Row {
    std::vector<MemberView> members;
    uint64_t clock;
  };
  const Row table[] = {
      {{{kLive, 7}, {kLive, 5}, {kLive, 9}}, 5},
      {{{kLive, 7}, {kGone, 5}, {kLive, 9}}, 7},
      {{{kLive, 7}, {kAbsent, 0}, {kLive, 9}}, 7},
      {{{kGone, 7}, {kAbsent, 0}}, 0},
  };
  for (const Row& row : table) {
    const PartView view{.members = row.members, .slowest = SlowestClock(row.members)};
    CHECK(kSsp.read_clock(view) == row.clock);
    CHECK(kSsp.entry_clock(view) == row.clock);
  }
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

struct PlanRow {
  WorkerView view;
  StepPlan plan;
};

void CheckPlans(const SyncMode& mode, const Sync& settings, std::span<const PlanRow> table) {
  for (const PlanRow& row : table) {
    CAPTURE(std::string(mode.name), settings.ShortDebugString(), row.view.step, row.view.first_step,
            row.view.fetch_in_flight, row.view.fetched, row.view.seen_clock);
    CHECK(mode.on_step(settings, row.view) == row.plan);
  }
}

TEST_CASE("downpour's worker follows algorithm 7.1") {
  const PlanRow table[] = {
      // The first step has nothing to compute with until a fetch has come, wherever the attempt begins.
      {{.step = 0}, {.fetch = true, .wait_for_fetch = true, .plain_step = true, .pushes_in_flight = 2}},
      {{.step = 0, .fetched = true}, {.plain_step = true, .pushes_in_flight = 2}},
      {{.step = 7, .first_step = 7},
       {.fetch = true, .wait_for_fetch = true, .plain_step = true, .push = true, .pushes_in_flight = 2}},
      {{.step = 1}, {.plain_step = true, .push = true, .pushes_in_flight = 2}},
      {{.step = 3}, {.fetch = true, .plain_step = true, .push = true, .pushes_in_flight = 2}},
      {{.step = 3, .fetch_in_flight = true}, {.plain_step = true, .push = true, .pushes_in_flight = 2}},
  };
  CheckPlans(kDownpour, Settings(3, 2, false), table);
  const PlanRow waiting[] = {
      {{.step = 4}, {.plain_step = true, .pushes_in_flight = 0}},
      {{.step = 4, .fetch_in_flight = true}, {.wait_for_fetch = true, .plain_step = true, .pushes_in_flight = 0}},
      {{.step = 3}, {.fetch = true, .wait_for_fetch = true, .plain_step = true, .push = true}},
      {{.step = 3, .fetched = true}, {.plain_step = true, .push = true}},
  };
  CheckPlans(kDownpour, Settings(3, 2, true), waiting);
}

TEST_CASE("asp's worker fetches and pushes each step, and waits only when told") {
  const PlanRow table[] = {
      {{.step = 4}, {.fetch = true, .push = true, .pushes_in_flight = 2}},
      {{.step = 4, .fetch_in_flight = true}, {.push = true, .pushes_in_flight = 2}},
      {{.step = 4, .first_step = 4}, {.fetch = true, .wait_for_fetch = true, .push = true, .pushes_in_flight = 2}},
      {{.step = 4, .first_step = 4, .fetched = true}, {.push = true, .pushes_in_flight = 2}},
  };
  CheckPlans(kAsp, Settings(0, 0, false), table);
  const PlanRow waiting[] = {{{.step = 4}, {.fetch = true, .wait_for_fetch = true, .push = true}},
                             {{.step = 4, .fetched = true}, {.push = true}}};
  CheckPlans(kAsp, Settings(0, 0, true), waiting);
}

TEST_CASE("bsp's worker waits for the clock after its own push, and follows the clock") {
  const PlanRow table[] = {
      {{.step = 4},
       {.fetch = true,
        .after_own_push = true,
        .wait_for_fetch = true,
        .follow_clock = true,
        .push = true,
        .pushes_in_flight = 1}},
      {{.step = 4, .fetched = true, .seen_clock = 4},
       {.after_own_push = true, .follow_clock = true, .push = true, .pushes_in_flight = 1}},
  };
  CheckPlans(kBsp, {}, table);
  CheckPlans(kPeer, {}, table);
}

TEST_CASE("ssp's worker computes on with what it has while that is fresh enough") {
  Sync settings = Settings(0, 0, false);
  settings.set_s(3);
  const auto plan = [](bool fetch, uint64_t clock, bool wait) {
    return StepPlan{.fetch = fetch,
                    .fetch_clock = clock,
                    .wait_for_fetch = wait,
                    .follow_clock = true,
                    .push = true,
                    .pushes_in_flight = 2};
  };
  const PlanRow table[] = {
      {{.step = 0}, plan(true, 0, true)},
      {{.step = 9, .first_step = 9}, plan(true, 0, true)},
      // It holds all of the clocks before 6: enough for clock 9, not for 10.
      {{.step = 9, .seen_clock = 6}, plan(true, 6, false)},
      {{.step = 9, .fetch_in_flight = true, .seen_clock = 6}, plan(false, 6, false)},
      {{.step = 9, .fetched = true, .seen_clock = 6}, plan(false, 6, false)},
      {{.step = 10, .seen_clock = 6}, plan(true, 7, true)},
      {{.step = 10, .fetch_in_flight = true, .seen_clock = 6}, plan(false, 7, true)},
      // What was under way came, and is not enough.
      {{.step = 10, .fetched = true, .seen_clock = 6}, plan(true, 7, true)},
  };
  CheckPlans(kSsp, settings, table);
}

TEST_CASE("local SGD's worker takes tau steps by itself, pushes, and goes on from the mean") {
  Sync settings;
  settings.set_tau(3);
  const auto plan = [](bool fetch, bool push) {
    return StepPlan{.fetch = fetch,
                    .after_own_push = true,
                    .wait_for_fetch = fetch,
                    .optimizer_step = true,
                    .push = push,
                    .pushes_in_flight = 1};
  };
  const PlanRow table[] = {
      {{.step = 0}, plan(true, false)},  {{.step = 0, .fetched = true}, plan(false, false)},
      {{.step = 1}, plan(false, false)}, {{.step = 2}, plan(false, true)},
      {{.step = 3}, plan(true, false)},  {{.step = 7, .first_step = 7}, plan(true, false)},
  };
  CheckPlans(kLocalSgd, settings, table);
}

TEST_CASE("elastic averaging's worker fetches by itself only to begin with") {
  for (const bool rounds : {false, true}) {
    Sync settings;
    settings.set_tau(3);
    settings.set_rounds(rounds);
    const auto plan = [rounds](bool fetch, bool push) {
      return StepPlan{.fetch = fetch,
                      .after_own_push = rounds,
                      .wait_for_fetch = fetch,
                      .optimizer_step = true,
                      .push = push,
                      .pushes_in_flight = 1};
    };
    const PlanRow table[] = {
        {{.step = 0}, plan(true, false)},  {{.step = 0, .fetched = true}, plan(false, false)},
        {{.step = 2}, plan(false, true)},  {{.step = 3}, plan(false, false)},
        {{.step = 4, .first_step = 4}, plan(true, false)},
    };
    CheckPlans(kEasgd, settings, table);
  }
}

}  // namespace
}  // namespace downpour
