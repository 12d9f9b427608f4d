#include "worker/layers/relu.h"

namespace downpour::worker {
namespace {

class Relu final : public UnaryLayer {
 public:
  explicit Relu(const LayerContext& context)
      : shape_(context.input()), op_(context.device.MakeRelu(context.input(), context.max_batch)) {}

  kernels::Shape output() const override { return shape_; }
  bool gradient_in_place() const override { return true; }

 private:
  void Forward(kernels::ConstTensorView input, ConstTensors, kernels::TensorView output) override {
    op_->Forward(input, output);
  }

  void Backward(kernels::ConstTensorView, ConstTensors, kernels::ConstTensorView output,
                kernels::ConstTensorView output_gradient, Tensors,
                kernels::TensorView input_gradient) override {
    if (!input_gradient.empty()) op_->Backward(output, output_gradient, input_gradient);
  }

  const kernels::Shape shape_;
  const std::unique_ptr<kernels::Relu> op_;
};

}  // namespace

absl::StatusOr<AnyLayer> MakeRelu(const LayerContext& context) { return std::make_unique<Relu>(context); }

}  // namespace downpour::worker
