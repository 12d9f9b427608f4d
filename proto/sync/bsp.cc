// Bulk synchronous parallel (Valiant 1990): one update a clock, from the pushes of all workers that are still there;
// reads wait for it. With backup workers (Chen et al. 2016, "Revisiting distributed synchronous SGD") a clock takes the
// first of the pushes and refuses the rest.
#include "proto/sync/mode.h"
#include "proto/sync/rounds.h"

namespace downpour {
namespace {

bool Closes(const Sync& settings, const PartView& view) {
  return rounds::ClosesWithout(settings.backup_workers(), view);
}

StepPlan OnStep(const Sync&, const WorkerView& view) {
  StepPlan plan;
  plan.fetch = !view.fetched && !view.fetch_in_flight;
  plan.after_own_push = true;
  plan.wait_for_fetch = !view.fetched;
  plan.follow_clock = true;
  plan.push = true;
  plan.pushes_in_flight = 1;
  return plan;
}

constexpr SyncMode kEveryStep = {
    .coupling = [](const Sync&) { return Coupling::kRounds; },
    .on_push = rounds::OnPush,
    .closes = Closes,
    .read_clock = rounds::ReadClock,
    .entry_clock = rounds::EntryClock,
    .on_step = OnStep,
    .steps_a_clock = [](const Sync&) { return uint64_t{1}; },
};

constexpr SyncMode Named(absl::string_view name, bool peers) {
  SyncMode mode = kEveryStep;
  mode.name = name;
  mode.peers = peers;
  return mode;
}

}  // namespace

const SyncMode kBsp = Named("bsp", false);

// As CaffeOnSpark combines: the same rules, and each worker owns 1/N of the parameters.
const SyncMode kPeer = Named("peer", true);

}  // namespace downpour
