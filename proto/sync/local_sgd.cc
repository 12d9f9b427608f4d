// Local SGD, or parameter averaging (SparkNet: Moritz et al. 2016; DL4J's IterativeReduce): each worker takes tau steps of
// the job's optimizer by itself, then all go on from the mean of their parameters, weighted by samples.
#include "proto/sync/mode.h"
#include "proto/sync/rounds.h"

namespace downpour {
namespace {

StepPlan OnStep(const Sync& settings, const WorkerView& view) {
  StepPlan plan;
  const bool due = view.step == view.first_step || view.step % settings.tau() == 0;
  plan.fetch = due && !view.fetched && !view.fetch_in_flight;
  plan.after_own_push = true;
  plan.wait_for_fetch = due && !view.fetched;
  plan.optimizer_step = true;
  plan.push = (view.step + 1) % settings.tau() == 0;
  plan.pushes_in_flight = 1;
  return plan;
}

}  // namespace

const SyncMode kLocalSgd = {
    .name = "local_sgd",
    .content = PushContent::kParameters,
    .coupling = [](const Sync&) { return Coupling::kRounds; },
    .on_push = rounds::OnPush,
    .closes = rounds::Closes,
    .read_clock = rounds::ReadClock,
    .entry_clock = rounds::EntryClock,
    .on_step = OnStep,
    .steps_a_clock = [](const Sync& settings) { return uint64_t{settings.tau()}; },
};

}  // namespace downpour
