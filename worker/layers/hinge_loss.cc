#include "worker/layers/hinge_loss.h"

#include "worker/layers/op_loss.h"

namespace downpour::worker {

absl::StatusOr<AnyLayer> MakeHingeLoss(const LayerContext& context) {
  if (absl::Status status = CheckScores(context); !status.ok()) return status;
  const absl::StatusOr<int> top_k = TopK(context);
  if (!top_k.ok()) return top_k.status();
  const kernels::HingeLossSpec spec{
      .classes = context.input().channels, .squared = context.config.squared(), .top_k = *top_k};
  auto op = context.device.MakeHingeLoss(spec, context.max_batch);
  return std::make_unique<OpLoss>(spec.classes, spec.top_k, std::move(op));
}

}  // namespace downpour::worker
