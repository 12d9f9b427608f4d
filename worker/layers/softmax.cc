#include "worker/layers/softmax.h"

#include <utility>

namespace downpour::worker {
namespace {

class Softmax final : public UnaryLayer {
 public:
  Softmax(const kernels::Shape& shape, std::unique_ptr<kernels::Softmax> op) : shape_(shape), op_(std::move(op)) {}

  kernels::Shape output() const override { return shape_; }

 private:
  void Forward(kernels::ConstTensorView input, ConstTensors, kernels::TensorView output) override {
    op_->Forward(input, output);
  }

  void Backward(kernels::ConstTensorView, ConstTensors, kernels::ConstTensorView output,
                kernels::ConstTensorView output_gradient, Tensors, kernels::TensorView input_gradient) override {
    if (!input_gradient.empty()) op_->Backward(output, output_gradient, input_gradient);
  }

  const kernels::Shape shape_;
  const std::unique_ptr<kernels::Softmax> op_;
};

}  // namespace

absl::StatusOr<AnyLayer> MakeSoftmax(const LayerContext& context) {
  auto op = context.device.MakeSoftmax(context.input(), context.max_batch);
  return std::make_unique<Softmax>(context.input(), std::move(op));
}

}  // namespace downpour::worker
