#include "worker/layers/softmax_loss.h"

#include "worker/layers/op_loss.h"

namespace downpour::worker {

absl::StatusOr<AnyLayer> MakeSoftmaxLoss(const LayerContext& context) {
  if (absl::Status status = CheckScores(context); !status.ok()) return status;
  const int classes = context.input().channels;
  return std::make_unique<OpLoss>(classes,
                                                        context.device.MakeSoftmaxLoss(classes, context.max_batch));
}

}  // namespace downpour::worker
