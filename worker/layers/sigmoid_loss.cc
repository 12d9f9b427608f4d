#include "worker/layers/sigmoid_loss.h"

#include <algorithm>

#include "worker/layers/op_loss.h"

namespace downpour::worker {

absl::StatusOr<AnyLayer> MakeSigmoidLoss(const LayerContext& context) {
  if (absl::Status status = CheckScores(context); !status.ok()) return status;
  const absl::StatusOr<int> top_k = TopK(context);
  if (!top_k.ok()) return top_k.status();
  const kernels::SigmoidLossSpec spec{.scores = context.input().channels, .top_k = *top_k};
  auto op = context.device.MakeSigmoidLoss(spec, context.max_batch);
  return std::make_unique<OpLoss>(std::max(spec.scores, 2), spec.top_k, std::move(op));
}

}  // namespace downpour::worker
