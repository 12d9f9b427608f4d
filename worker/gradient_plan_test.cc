#include "worker/gradient_plan.h"

#include <algorithm>

#include <catch2/catch.hpp>

#include "worker/net_graph.h"

namespace downpour::worker {
namespace {

constexpr int kNone = GradientPlan::kNone;

TEST_CASE("a chain needs two buffers, as large as the largest that each holds") {
  const PlannedStage stages[] = {{{kSamples}, 10, true}, {{0}, 70}, {{1}, 50, true}, {{2}, 5}, {{3}}};
  const GradientPlan plan = PlanGradients(stages);
  REQUIRE(plan.buffers.size() == 2);
  CHECK(plan.buffers == std::vector<std::size_t>{70, 50});
  CHECK(plan.stages[4].inputs[0].buffer == plan.stages[3].buffer);
  for (int i = 1; i < 4; ++i) {
    CHECK(plan.stages[i].inputs[0].buffer == plan.stages[i - 1].buffer);
    CHECK(plan.stages[i].buffer != plan.stages[i - 1].buffer);
    CHECK(plan.stages[i].inputs[0].add_to == kNone);
  }
  REQUIRE(plan.stages[0].inputs.size() == 1);
  CHECK(plan.stages[0].inputs[0].buffer == kNone);
}

TEST_CASE("several losses add up what they want of the same values") {
  const PlannedStage stages[] = {{{kSamples}, 8, true}, {{0}, 4, true}, {{0}}, {{1}}, {{0}}};
  const GradientPlan plan = PlanGradients(stages);
  const int sum = plan.stages[0].buffer;
  CHECK(plan.stages[4].inputs[0].buffer == sum);
  CHECK(plan.stages[4].inputs[0].add_to == kNone);
  CHECK(plan.stages[3].inputs[0].buffer == plan.stages[1].buffer);
  CHECK(plan.stages[2].inputs[0].add_to == sum);
  CHECK(plan.stages[1].inputs[0].add_to == sum);
  CHECK(plan.buffers.size() == 3);
}

TEST_CASE("what stands before the first parameters is not asked") {
  const PlannedStage stages[] = {{{kSamples}, 10}, {{0}, 10}, {{1}, 10, true}, {{2, 0}, 10}, {{3}}};
  const GradientPlan plan = PlanGradients(stages);
  CHECK(plan.stages[0].inputs.empty());
  CHECK(plan.stages[1].inputs.empty());
  CHECK(plan.stages[2].inputs[0].buffer == kNone);
  CHECK(plan.stages[3].inputs[1].buffer == kNone);
}

TEST_CASE("a net without parameters has no gradients") {
  const PlannedStage stages[] = {{{kSamples}, 10}, {{0}}};
  const GradientPlan plan = PlanGradients(stages);
  CHECK(plan.buffers.empty());
  CHECK(plan.stages[1].inputs[0].buffer == kNone);
}

TEST_CASE("gradients of values that several take are added up") {
  // 0 is taken by 1, by 2 and twice by 3.
  const PlannedStage stages[] = {{{kSamples}, 8, true}, {{0}, 8, true}, {{0}, 8}, {{1, 0, 2, 0}, 8}, {{3}}};
  const GradientPlan plan = PlanGradients(stages);
  const int sum = plan.stages[0].buffer;
  CHECK(plan.stages[3].inputs[1].buffer == sum);
  CHECK(plan.stages[3].inputs[1].add_to == kNone);
  CHECK(plan.stages[3].inputs[3].add_to == sum);
  CHECK(plan.stages[2].inputs[0].add_to == sum);
  CHECK(plan.stages[1].inputs[0].add_to == sum);
}

TEST_CASE("in place, a gradient is passed on without a copy, once, and added to what is there") {
  // A residual block: 3 sums 2, which nobody else takes, and 0, which 1 takes too; 4 is a function of each value.
  const PlannedStage stages[] = {{{kSamples}, 8, true}, {{0}, 8, true},          {{1}, 8, true},
                                 {{2, 0}, 8, false, true}, {{3}, 8, false, true}, {{4}}};
  const GradientPlan plan = PlanGradients(stages);
  const int whole = plan.stages[4].buffer;
  CHECK(plan.stages[4].inputs[0].buffer == whole);
  CHECK(plan.stages[3].inputs[0].buffer == whole);
  CHECK(plan.stages[2].buffer == whole);
  const int sum = plan.stages[0].buffer;
  CHECK(sum != whole);
  CHECK(plan.stages[3].inputs[1].buffer == sum);
  CHECK(plan.stages[1].inputs[0].add_to == sum);

  // 0 is taken by 1, and later by 2, which is in place: it has come to 0 before.
  const PlannedStage fork[] = {{{kSamples}, 8, true}, {{0}, 8, false, true}, {{0}, 8, true}, {{1}}, {{2}}};
  const GradientPlan added = PlanGradients(fork);
  CHECK(added.stages[1].inputs[0].buffer == added.stages[1].buffer);
  CHECK(added.stages[1].inputs[0].add_to == added.stages[0].buffer);

  // 2 sums 0 twice and then 1, which 3 takes too: what 1 gets is not what 0 has after its second time.
  const PlannedStage twice[] = {{{kSamples}, 8, true}, {{kSamples}, 8, true}, {{0, 0, 1}, 8, false, true},
                                {{1}, 8, true},        {{2, 3}}};
  const GradientPlan apart = PlanGradients(twice);
  const int own = apart.stages[2].buffer;
  CHECK(apart.stages[2].inputs[0].buffer == own);
  CHECK(apart.stages[2].inputs[1].add_to == own);
  CHECK(apart.stages[2].inputs[2].buffer != own);
  CHECK(apart.stages[2].inputs[2].add_to == apart.stages[1].buffer);
}

// Goes through a plan as a backward pass does, and sees that nobody writes where somebody else's gradient still lies.
void Walk(const std::vector<PlannedStage>& stages) {
  const GradientPlan plan = PlanGradients(stages);
  std::vector<int> holds(plan.buffers.size(), kNone);  // by buffer, the stage whose gradient is in it
  for (int i = static_cast<int>(stages.size()); i-- > 0;) {
    const bool loss = stages[i].values == 0;
    if (plan.stages[i].inputs.empty()) continue;
    if (!loss) REQUIRE(holds[plan.stages[i].buffer] == i);
    std::vector<int> written;
    int passed_on = 0;
    bool own_changed = false;  // by what was added to it
    const int own = loss ? kNone : plan.stages[i].buffer;
    for (std::size_t k = 0; k < stages[i].inputs.size(); ++k) {
      const GradientPlan::Input& input = plan.stages[i].inputs[k];
      if (input.buffer == kNone) continue;
      const int from = stages[i].inputs[k];
      REQUIRE(plan.buffers[input.buffer] >= stages[from].values);
      if (input.buffer == own) {
        REQUIRE(stages[i].gradient_in_place);
        REQUIRE(input.add_to != own);
        continue;
      }
      REQUIRE(holds[input.buffer] == kNone);
      for (const int other : written) REQUIRE(other != input.buffer);
      written.push_back(input.buffer);
    }
    for (std::size_t k = 0; k < stages[i].inputs.size(); ++k) {
      const GradientPlan::Input& input = plan.stages[i].inputs[k];
      if (input.buffer == kNone) continue;
      const int from = stages[i].inputs[k];
      if (input.add_to != kNone) {
        if (input.buffer == own) REQUIRE(!own_changed);
        own_changed = own_changed || input.add_to == own;
      }
      if (input.add_to == kNone) {
        holds[input.buffer] = from;
        passed_on += input.buffer == own;
      } else {
        REQUIRE(holds[input.add_to] == from);
      }
    }
    REQUIRE(passed_on <= 1);
    if (!loss && passed_on == 0) holds[own] = kNone;
  }
  for (const int stage : holds) REQUIRE(stage == kNone);
}

TEST_CASE("no gradient is overwritten before it is used, in any net") {
  unsigned dice = 1;
  const auto roll = [&dice](int sides) { return static_cast<int>((dice = dice * 1664525 + 1013904223) >> 16) % sides; };
  for (int net = 0; net < 300; ++net) {
    std::vector<PlannedStage> stages(2 + roll(9));
    for (int i = 0; i < static_cast<int>(stages.size()); ++i) {
      stages[i].values = net % 2 == 0 ? 8 : 1 + roll(20);
      stages[i].has_parameters = roll(3) == 0;
      stages[i].inputs = {i - 1};  // so that all are used
      static_assert(kSamples == -1);
      for (int more = roll(4); more-- > 0;) stages[i].inputs.push_back(roll(i + 1) - 1);
      const bool same = std::ranges::all_of(stages[i].inputs, [&](int input) {
        return input == kSamples || stages[input].values == stages[i].values;
      });
      stages[i].gradient_in_place = same && roll(2) == 0;
    }
    const int before_losses = static_cast<int>(stages.size()) - 1;
    stages.back() = {{before_losses - 1}};
    for (int more = roll(3); more-- > 0;) {
      PlannedStage& loss = stages.emplace_back();
      for (int taken = 1 + roll(2); taken-- > 0;) loss.inputs.push_back(roll(before_losses + 1) - 1);
    }
    Walk(stages);
  }
}

}  // namespace
}  // namespace downpour::worker
