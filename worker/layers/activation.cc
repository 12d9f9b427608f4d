#include "worker/layers/activation.h"

namespace downpour::worker {
namespace {

using Function = kernels::ActivationSpec::Function;

class Activation final : public UnaryLayer {
 public:
  Activation(const kernels::ActivationSpec& spec, const LayerContext& context)
      : shape_(context.input()), op_(context.device.MakeActivation(spec, shape_, context.max_batch)) {}

  kernels::Shape output() const override { return shape_; }
  bool gradient_in_place() const override { return true; }

 private:
  void Forward(kernels::ConstTensorView input, ConstTensors, kernels::TensorView output) override {
    op_->Forward(input, output);
  }

  void Backward(kernels::ConstTensorView input, ConstTensors, kernels::ConstTensorView output,
                kernels::ConstTensorView output_gradient, Tensors, kernels::TensorView input_gradient) override {
    if (!input_gradient.empty()) op_->Backward(input, output, output_gradient, input_gradient);
  }

  const kernels::Shape shape_;
  const std::unique_ptr<kernels::Activation> op_;
};

std::unique_ptr<Layer> Make(Function function, float default_slope, const LayerContext& context) {
  const float slope = context.config.has_slope() ? context.config.slope() : default_slope;
  return std::make_unique<Activation>(kernels::ActivationSpec{function, slope}, context);
}

}  // namespace

absl::StatusOr<AnyLayer> MakeLeakyRelu(const LayerContext& context) {
  return Make(Function::kLeakyRelu, 0.01f, context);
}
absl::StatusOr<AnyLayer> MakeElu(const LayerContext& context) { return Make(Function::kElu, 1, context); }
absl::StatusOr<AnyLayer> MakeGelu(const LayerContext& context) { return Make(Function::kGelu, 0, context); }
absl::StatusOr<AnyLayer> MakeSigmoid(const LayerContext& context) { return Make(Function::kSigmoid, 0, context); }
absl::StatusOr<AnyLayer> MakeTanh(const LayerContext& context) { return Make(Function::kTanh, 0, context); }

}  // namespace downpour::worker
