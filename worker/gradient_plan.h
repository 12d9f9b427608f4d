// Where the gradients of a net's values lie while a backward pass goes through it.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace downpour::worker {

// A stage of a net, in the order of a forward pass; its losses are the last.
struct PlannedStage {
  std::vector<int> inputs;      // stages before it, or kSamples
  std::size_t values = 0;       // that it gives, for a sample; a loss gives none
  bool has_parameters = false;
  bool gradient_in_place = false;  // as Layer::gradient_in_place
};

// Buffers are shared by gradients that are not needed at the same time: in a chain there are two. Of a stage whose gradients
// may lie in place, the gradient of its values becomes that of one input.
struct GradientPlan {
  static constexpr int kNone = -1;

  struct Input {
    int buffer = kNone;   // into which the stage writes the gradient of this input, the stage's own where it is in place;
                          // kNone where nobody needs it
    int add_to = kNone;   // the buffer to which it is added then, where another stage was there before
  };
  struct Stage {
    int buffer = kNone;  // with the gradient of its values; kNone where nobody needs it, and for a loss
    std::vector<Input> inputs;  // none where a backward pass has nothing to do there
  };

  std::vector<Stage> stages;
  std::vector<std::size_t> buffers;  // their sizes, in values a sample
};

// A gradient is needed where the stage, or one that it takes values from, has parameters. All stages that give values
// must be inputs of later ones.
GradientPlan PlanGradients(std::span<const PlannedStage> stages);

}  // namespace downpour::worker
