// Bulk synchronous parallel (Valiant 1990): one update a clock, from the pushes of all workers that are still there;
// reads wait for it.
#include "proto/sync/mode.h"

namespace downpour {
namespace {

PushDecision OnPush(const PartView& view, const PushView& push) {
  if (push.clock < view.clock) return {PushAction::kRefuse, Refusal::kClockClosed};
  if (push.clock > view.clock) return {PushAction::kRefuse, Refusal::kClockAhead};
  return {PushAction::kHold};
}

bool Closes(const PartView& view) {
  if (view.held == 0) return false;
  for (const MemberView& member : view.members) {
    if (member.membership != Membership::kGone && member.clock <= view.clock) return false;
  }
  return true;
}

ReadAction MayRead(const PartView& view, uint64_t clock) {
  return view.clock >= clock ? ReadAction::kNow : ReadAction::kWhenClosed;
}

StepPlan OnStep(const Sync&, const WorkerView& view) {
  StepPlan plan;
  plan.fetch = !view.fetch_in_flight;
  plan.fetch_clock = view.step;
  plan.wait_for_fetch = true;
  plan.push = true;
  plan.pushes_in_flight = 1;
  return plan;
}

}  // namespace

const SyncMode kBsp = {
    .name = "bsp",
    .strong = true,
    .on_push = OnPush,
    .closes = Closes,
    .may_read = MayRead,
    .on_step = OnStep,
};

}  // namespace downpour
