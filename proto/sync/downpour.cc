// Downpour SGD (Dean et al. 2012, algorithm 7.1): workers fetch every n_fetch and push every n_push steps, neither
// waits, and the server applies what comes when it comes.
#include "proto/sync/mode.h"
#include "proto/sync/weak.h"

namespace downpour {
namespace {

StepPlan OnStep(const Sync& settings, const WorkerView& view) {
  StepPlan plan;
  const bool first = view.step == view.first_step;
  plan.fetch = !view.fetched && !view.fetch_in_flight && (first || view.step % settings.n_fetch() == 0);
  plan.wait_for_fetch = !view.fetched && (first || (settings.wait() && (plan.fetch || view.fetch_in_flight)));
  plan.plain_step = settings.local_step();
  plan.push = (view.step + 1) % settings.n_push() == 0;
  plan.pushes_in_flight = settings.wait() ? 0 : settings.max_pushes_in_flight();
  return plan;
}

}  // namespace

const SyncMode kDownpour = {
    .name = "downpour",
    .coupling = [](const Sync&) { return Coupling::kNone; },
    .on_push = weak::OnPush,
    .closes = weak::Closes,
    .read_clock = weak::ReadClock,
    .entry_clock = weak::EntryClock,
    .on_step = OnStep,
    .steps_a_clock = [](const Sync&) { return uint64_t{1}; },
};

}  // namespace downpour
