#include "worker/layers/prelu.h"

namespace downpour::worker {
namespace {

constexpr float kFirstSlope = 0.25f;  // the paper's

class Prelu final : public UnaryLayer {
 public:
  explicit Prelu(const LayerContext& context)
      : shape_(context.input()), op_(context.device.MakePrelu(shape_, context.max_batch)) {}

  kernels::Shape output() const override { return shape_; }

  std::vector<ParameterSpec> parameters() const override {
    const std::uint32_t channels = shape_.channels;
    return {{.name = "weight", .shape = {channels}, .filler = Filler::kConstant, .value = kFirstSlope}};
  }

 private:
  void Forward(kernels::ConstTensorView input, ConstTensors parameters, kernels::TensorView output) override {
    op_->Forward(input, parameters[0].data(), output);
  }

  void Backward(kernels::ConstTensorView input, ConstTensors parameters, kernels::ConstTensorView,
                kernels::ConstTensorView output_gradient, Tensors parameter_gradients,
                kernels::TensorView input_gradient) override {
    op_->BackwardSlopes(input, output_gradient, parameter_gradients[0].data());
    if (!input_gradient.empty()) op_->BackwardData(input, parameters[0].data(), output_gradient, input_gradient);
  }

  const kernels::Shape shape_;
  const std::unique_ptr<kernels::Prelu> op_;
};

}  // namespace

absl::StatusOr<AnyLayer> MakePrelu(const LayerContext& context) { return std::make_unique<Prelu>(context); }

}  // namespace downpour::worker
