// Asynchronous parallel: every step fetches and pushes; nobody waits for another worker, nor steps by itself.
#include "proto/sync/mode.h"
#include "proto/sync/weak.h"

namespace downpour {
namespace {

StepPlan OnStep(const Sync& settings, const WorkerView& view) {
  StepPlan plan;
  plan.fetch = !view.fetched && !view.fetch_in_flight;
  plan.wait_for_fetch = !view.fetched && (view.step == view.first_step || settings.wait());
  plan.push = true;
  plan.pushes_in_flight = settings.wait() ? 0 : settings.max_pushes_in_flight();
  return plan;
}

}  // namespace

const SyncMode kAsp = {
    .name = "asp",
    .coupling = [](const Sync&) { return Coupling::kNone; },
    .on_push = weak::OnPush,
    .closes = weak::Closes,
    .read_clock = weak::ReadClock,
    .entry_clock = weak::EntryClock,
    .on_step = OnStep,
    .steps_a_clock = [](const Sync&) { return uint64_t{1}; },
};

}  // namespace downpour
