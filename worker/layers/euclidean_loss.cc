#include "worker/layers/euclidean_loss.h"

#include "worker/layers/errors.h"

namespace downpour::worker {
namespace {

class EuclideanLoss final : public Loss {
 public:
  explicit EuclideanLoss(const LayerContext& context) : op_(context.device.MakeEuclideanLoss(context.max_batch)) {}

  int classes() const override { return 0; }

  kernels::LossResult Forward(kernels::ConstTensorView input, const kernels::Targets& targets) override {
    return op_->Forward(input, targets);
  }

  void Backward(float scale, const kernels::Targets& targets, kernels::TensorView input_gradient) override {
    op_->Backward(scale, targets, input_gradient);
  }

 private:
  const std::unique_ptr<kernels::EuclideanLoss> op_;
};

}  // namespace

absl::StatusOr<AnyLayer> MakeEuclideanLoss(const LayerContext& context) {
  if (context.input().size() != 1) {
    return LayerError(context, "compares one value with one label; put an inner_product with outputs: 1 before it");
  }
  return std::make_unique<EuclideanLoss>(context);
}

}  // namespace downpour::worker
