#include "worker/layers/softmax_loss.h"

#include "worker/layers/errors.h"

namespace downpour::worker {
namespace {

class SoftmaxLoss final : public Loss {
 public:
  explicit SoftmaxLoss(const LayerContext& context)
      : classes_(context.input().channels), op_(context.device.MakeSoftmaxLoss(classes_, context.max_batch)) {}

  int classes() const override { return classes_; }

  kernels::LossResult Forward(kernels::ConstTensorView input, const kernels::Targets& targets) override {
    return op_->Forward(input, targets);
  }

  void Backward(float scale, const kernels::Targets& targets, kernels::TensorView input_gradient) override {
    op_->Backward(scale, targets, input_gradient);
  }

 private:
  const int classes_;
  const std::unique_ptr<kernels::SoftmaxLoss> op_;
};

}  // namespace

absl::StatusOr<AnyLayer> MakeSoftmaxLoss(const LayerContext& context) {
  if (context.input().height != 1 || context.input().width != 1) {
    return LayerError(context, "needs one score for each class; put an inner_product before it");
  }
  return std::make_unique<SoftmaxLoss>(context);
}

}  // namespace downpour::worker
