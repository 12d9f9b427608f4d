// Stale synchronous parallel (Ho et al. 2013): gradients are applied as they come, and a worker computes clock c only
// with parameters that hold all gradients of the clocks before c - s. So nobody is more than s clocks ahead of the slowest
// that is there; who has not come, or is gone, holds nobody up.
#include <algorithm>

#include "proto/sync/mode.h"

namespace downpour {
namespace {

PushDecision OnPush(const Sync& settings, const PartView& view, const PushView& push) {
  if (push.clock > view.slowest + settings.s()) return {PushAction::kRefuse, Refusal::kClockAhead};
  return {PushAction::kApply};
}

uint64_t Slowest(const PartView& view) { return view.slowest; }

StepPlan OnStep(const Sync& settings, const WorkerView& view) {
  StepPlan plan;
  const bool first = view.step == view.first_step && !view.fetched;
  const uint64_t needed = view.step - std::min<uint64_t>(view.step, settings.s());
  const bool behind = view.seen_clock < needed;
  plan.wait_for_fetch = first || behind;
  plan.fetch = !view.fetch_in_flight && (!view.fetched || behind);
  // Whoever begins takes the others' clock as it finds it.
  plan.fetch_clock = first ? 0 : needed;
  plan.follow_clock = true;
  plan.push = true;
  plan.pushes_in_flight = settings.max_pushes_in_flight();
  return plan;
}

}  // namespace

const SyncMode kSsp = {
    .name = "ssp",
    .coupling = [](const Sync&) { return Coupling::kBounded; },
    .on_push = OnPush,
    .closes = [](const Sync&, const PartView&) { return false; },
    .read_clock = Slowest,
    .entry_clock = Slowest,
    .on_step = OnStep,
    .steps_a_clock = [](const Sync&) { return uint64_t{1}; },
};

}  // namespace downpour
