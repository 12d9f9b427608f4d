// A loss of one input that is one op of a device.
#pragma once

#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/layers/errors.h"
#include "worker/layers/layer.h"

namespace downpour::worker {

class OpLoss final : public Loss {
 public:
  OpLoss(int classes, int top_k, std::unique_ptr<kernels::LossOp> op)
      : classes_(classes), top_k_(top_k), op_(std::move(op)) {}

  int classes() const override { return classes_; }
  int top_k() const override { return top_k_; }

  void Forward(ConstTensorViews inputs, const kernels::Targets& targets) override {
    op_->Forward(inputs[0], targets);
  }

  kernels::LossResult Result() override { return op_->Result(); }

  void Backward(float scale, const kernels::Targets& targets, TensorViews input_gradients) override {
    if (!input_gradients[0].empty()) op_->Backward(scale, targets, input_gradients[0]);
  }

 private:
  const int classes_;
  const int top_k_;
  const std::unique_ptr<kernels::LossOp> op_;
};

// kInvalidArgument where the input is not one score for each class.
inline absl::Status CheckScores(const LayerContext& context) {
  if (context.input().height == 1 && context.input().width == 1) return absl::OkStatus();
  return LayerError(context, "needs one score for each class; put an inner_product before it");
}

// The key top_k. kInvalidArgument where it is not from 1 to the number of scores.
inline absl::StatusOr<int> TopK(const LayerContext& context) {
  const std::uint32_t top_k = context.config.has_top_k() ? context.config.top_k() : 1;
  const int scores = context.input().channels;
  if (top_k >= 1 && top_k <= static_cast<std::uint32_t>(scores)) return static_cast<int>(top_k);
  return LayerError(context, "top_k is ", top_k, ", not from 1 to the number of scores, ", scores);
}

}  // namespace downpour::worker
