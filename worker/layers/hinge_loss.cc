#include "worker/layers/hinge_loss.h"

#include "worker/layers/op_loss.h"

namespace downpour::worker {

absl::StatusOr<AnyLayer> MakeHingeLoss(const LayerContext& context) {
  if (absl::Status status = CheckScores(context); !status.ok()) return status;
  const kernels::HingeLossSpec spec{.classes = context.input().channels, .squared = context.config.squared()};
  return std::make_unique<OpLoss>(spec.classes,
                                                      context.device.MakeHingeLoss(spec, context.max_batch));
}

}  // namespace downpour::worker
