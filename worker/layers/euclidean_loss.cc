#include "worker/layers/euclidean_loss.h"

#include "worker/layers/op_loss.h"

namespace downpour::worker {

absl::StatusOr<AnyLayer> MakeEuclideanLoss(const LayerContext& context) {
  if (context.input().size() != 1) {
    return LayerError(context, "compares one value with one label; put an inner_product with outputs: 1 before it");
  }
  return std::make_unique<OpLoss>(0, 1, context.device.MakeEuclideanLoss(context.max_batch));
}

}  // namespace downpour::worker
