#include "worker/layers/dropout.h"

#include <limits>

#include "worker/layers/errors.h"

namespace downpour::worker {
namespace {

class Dropout final : public Layer {
 public:
  Dropout(float rate, const LayerContext& context)
      : shape_(context.input()),
        op_(context.device.MakeDropout(rate, shape_, context.max_batch)),
        copy_(context.device.MakeEltwise(kernels::EltwiseOperation::kSum, shape_, context.max_batch)) {}

  kernels::Shape output() const override { return shape_; }

  void Forward(ConstTensorViews inputs, ConstTensors, kernels::TensorView output) override {
    copy_->Forward(inputs, output);  // the sum of one
  }

  void ForwardInTraining(ConstTensorViews inputs, ConstTensors, kernels::TensorView output,
                         const std::uint64_t* draw) override {
    draw_ = draw;
    op_->Apply(draw_, inputs[0], output);
  }

  void Backward(ConstTensorViews, ConstTensors, kernels::ConstTensorView, kernels::ConstTensorView output_gradient,
                Tensors, TensorViews input_gradients) override {
    if (!input_gradients[0].empty()) op_->Apply(draw_, output_gradient, input_gradients[0]);
  }

 private:
  const kernels::Shape shape_;
  const std::unique_ptr<kernels::Dropout> op_;
  const std::unique_ptr<kernels::Eltwise> copy_;
  const std::uint64_t* draw_ = nullptr;  // of the last ForwardInTraining
};

}  // namespace

absl::StatusOr<AnyLayer> MakeDropout(const LayerContext& context) {
  const float rate = context.config.has_rate() ? context.config.rate() : 0.5f;
  if (!(rate >= 0 && rate < 1)) return LayerError(context, "rate is ", rate, ", not at least 0 and below 1");
  if (context.input().size() > std::numeric_limits<std::uint32_t>::max() / context.max_batch) {
    return LayerError(context, "a batch of ", context.max_batch, " has more than 2^32 values");
  }
  return std::make_unique<Dropout>(rate, context);
}

}  // namespace downpour::worker
