// A loss of one input that is one op of a device.
#pragma once

#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "worker/layers/errors.h"
#include "worker/layers/layer.h"

namespace downpour::worker {

class OpLoss final : public Loss {
 public:
  OpLoss(int classes, std::unique_ptr<kernels::LossOp> op) : classes_(classes), op_(std::move(op)) {}

  int classes() const override { return classes_; }

  void Forward(ConstTensorViews inputs, const kernels::Targets& targets) override {
    op_->Forward(inputs[0], targets);
  }

  kernels::LossResult Result() override { return op_->Result(); }

  void Backward(float scale, const kernels::Targets& targets, TensorViews input_gradients) override {
    if (!input_gradients[0].empty()) op_->Backward(scale, targets, input_gradients[0]);
  }

 private:
  const int classes_;
  const std::unique_ptr<kernels::LossOp> op_;
};

// kInvalidArgument where the input is not one score for each class.
inline absl::Status CheckScores(const LayerContext& context) {
  if (context.input().height == 1 && context.input().width == 1) return absl::OkStatus();
  return LayerError(context, "needs one score for each class; put an inner_product before it");
}

}  // namespace downpour::worker
