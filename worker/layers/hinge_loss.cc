#include "worker/layers/hinge_loss.h"

#include "worker/layers/errors.h"

namespace downpour::worker {
namespace {

class HingeLoss final : public Loss {
 public:
  explicit HingeLoss(const LayerContext& context)
      : classes_(context.input().channels),
        op_(context.device.MakeHingeLoss({.classes = classes_, .squared = context.config.squared()},
                                         context.max_batch)) {}

  int classes() const override { return classes_; }

  kernels::LossResult Forward(kernels::ConstTensorView input, const kernels::Targets& targets) override {
    return op_->Forward(input, targets);
  }

  void Backward(float scale, const kernels::Targets& targets, kernels::TensorView input_gradient) override {
    op_->Backward(scale, targets, input_gradient);
  }

 private:
  const int classes_;
  const std::unique_ptr<kernels::HingeLoss> op_;
};

}  // namespace

absl::StatusOr<AnyLayer> MakeHingeLoss(const LayerContext& context) {
  if (context.input().height != 1 || context.input().width != 1) {
    return LayerError(context, "needs one score for each class; put an inner_product before it");
  }
  return std::make_unique<HingeLoss>(context);
}

}  // namespace downpour::worker
