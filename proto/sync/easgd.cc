// Elastic averaging SGD (Zhang, Choromanska, LeCun 2015): each worker takes tau steps by itself, then it and the centre on
// the servers move towards each other by a share of their difference. Asynchronous, or in rounds in which all workers
// compare themselves with the same centre.
#include "proto/sync/mode.h"
#include "proto/sync/rounds.h"
#include "proto/sync/weak.h"

namespace downpour {
namespace {

StepPlan OnStep(const Sync& settings, const WorkerView& view) {
  StepPlan plan;
  const bool first = view.step == view.first_step && !view.fetched;
  plan.fetch = first && !view.fetch_in_flight;
  plan.after_own_push = settings.rounds();
  plan.wait_for_fetch = first;
  plan.optimizer_step = true;
  plan.push = (view.step + 1) % settings.tau() == 0;
  plan.pushes_in_flight = 1;
  return plan;
}

}  // namespace

const SyncMode kEasgd = {
    .name = "easgd",
    .content = PushContent::kDifference,
    .coupling = [](const Sync& settings) { return settings.rounds() ? Coupling::kRounds : Coupling::kNone; },
    .on_push =
        [](const Sync& settings, const PartView& view, const PushView& push) {
          return settings.rounds() ? rounds::OnPush(settings, view, push) : weak::OnPush(settings, view, push);
        },
    .closes = [](const Sync& settings,
                 const PartView& view) { return settings.rounds() && rounds::Closes(settings, view); },
    // A read that asks for no clock is always content, so one answer serves both.
    .read_clock = rounds::ReadClock,
    .entry_clock = rounds::EntryClock,
    .on_step = OnStep,
    .steps_a_clock = [](const Sync& settings) { return settings.rounds() ? uint64_t{settings.tau()} : 1; },
};

}  // namespace downpour
