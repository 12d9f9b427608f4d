#include "worker/layers/contrastive_loss.h"

#include "worker/layers/errors.h"

namespace downpour::worker {
namespace {

class ContrastiveLoss final : public Loss {
 public:
  explicit ContrastiveLoss(std::unique_ptr<kernels::ContrastiveLoss> op) : op_(std::move(op)) {}

  int classes() const override { return 2; }

  void Forward(ConstTensorViews inputs, const kernels::Targets& targets) override {
    op_->Forward(inputs[0], inputs[1], targets);
  }

  kernels::LossResult Result() override { return op_->Result(); }

  void Backward(float scale, const kernels::Targets& targets, TensorViews input_gradients) override {
    op_->Backward(scale, targets, input_gradients[0], input_gradients[1]);
  }

 private:
  const std::unique_ptr<kernels::ContrastiveLoss> op_;
};

}  // namespace

absl::StatusOr<AnyLayer> MakeContrastiveLoss(const LayerContext& context) {
  if (context.inputs[0].shape != context.inputs[1].shape) return LayerError(context, "needs inputs of one shape");
  kernels::ContrastiveLossSpec spec{.shape = context.input()};
  if (context.config.has_margin()) spec.margin = context.config.margin();
  if (!(spec.margin > 0)) return LayerError(context, "margin is ", spec.margin, ", not above 0");
  auto op = context.device.MakeContrastiveLoss(spec, context.max_batch);
  return std::make_unique<ContrastiveLoss>(std::move(op));
}

}  // namespace downpour::worker
