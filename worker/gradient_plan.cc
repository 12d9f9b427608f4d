#include "worker/gradient_plan.h"

#include <algorithm>

#include "worker/net_graph.h"

namespace downpour::worker {
namespace {

// Hands out buffers, the last that was given back first: it may still be in the cache.
class Buffers {
 public:
  int Take(std::size_t size) {
    if (free_.empty()) {
      sizes_.push_back(size);
      return static_cast<int>(sizes_.size()) - 1;
    }
    const int buffer = free_.back();
    free_.pop_back();
    sizes_[buffer] = std::max(sizes_[buffer], size);
    return buffer;
  }
  void GiveBack(int buffer) { free_.push_back(buffer); }

  std::vector<std::size_t> sizes() && { return std::move(sizes_); }

 private:
  std::vector<std::size_t> sizes_;
  std::vector<int> free_;
};

std::vector<bool> Needed(std::span<const PlannedStage> stages) {
  std::vector<bool> needed(stages.size());
  for (std::size_t i = 0; i < stages.size(); ++i) {
    needed[i] = stages[i].has_parameters ||
                std::ranges::any_of(stages[i].inputs, [&](int input) { return input != kSamples && needed[input]; });
  }
  return needed;
}

}  // namespace

GradientPlan PlanGradients(std::span<const PlannedStage> stages) {
  const std::vector<bool> needed = Needed(stages);
  GradientPlan plan;
  plan.stages.resize(stages.size());
  Buffers buffers;
  for (std::size_t i = stages.size(); i-- > 0;) {
    GradientPlan::Stage& stage = plan.stages[i];
    if (stages[i].values > 0 && stage.buffer == GradientPlan::kNone) continue;
    bool passed_on = false;  // its own buffer, to an input
    bool added_to = false;   // its own buffer, after that
    for (const int input : stages[i].inputs) {
      GradientPlan::Input& planned = stage.inputs.emplace_back();
      if (input == kSamples || !needed[input]) continue;
      int& target = plan.stages[input].buffer;
      const bool first = target == GradientPlan::kNone;
      const bool in_place = stages[i].gradient_in_place && (first ? !passed_on : target != stage.buffer && !added_to);
      planned.buffer = in_place ? stage.buffer : buffers.Take(stages[input].values);
      if (first) {
        target = planned.buffer;
        passed_on = passed_on || in_place;
      } else {
        planned.add_to = target;
        added_to = added_to || target == stage.buffer;
      }
    }
    for (const GradientPlan::Input& input : stage.inputs) {
      if (input.add_to != GradientPlan::kNone && input.buffer != stage.buffer) buffers.GiveBack(input.buffer);
    }
    if (stage.buffer != GradientPlan::kNone && !passed_on) buffers.GiveBack(stage.buffer);
  }
  plan.buffers = std::move(buffers).sizes();
  return plan;
}

}  // namespace downpour::worker
