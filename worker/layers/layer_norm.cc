#include "worker/layers/layer_norm.h"

#include <utility>

#include "worker/layers/errors.h"

namespace downpour::worker {
namespace {

class LayerNorm final : public UnaryLayer {
 public:
  LayerNorm(const kernels::Shape& shape, std::vector<std::uint32_t> weights, std::unique_ptr<kernels::LayerNorm> op)
      : shape_(shape), weights_(std::move(weights)), op_(std::move(op)) {}

  kernels::Shape output() const override { return shape_; }

  std::vector<ParameterSpec> parameters() const override {
    return {{.name = "weight", .shape = weights_, .filler = Filler::kConstant, .value = 1},
            {.name = "bias", .shape = weights_}};
  }

 private:
  void Forward(kernels::ConstTensorView input, ConstTensors parameters, kernels::TensorView output) override {
    op_->Forward(input, parameters[0].data(), parameters[1].data(), output);
  }

  void Backward(kernels::ConstTensorView input, ConstTensors parameters, kernels::ConstTensorView,
                kernels::ConstTensorView output_gradient, Tensors parameter_gradients,
                kernels::TensorView input_gradient) override {
    op_->BackwardWeights(input, output_gradient, parameter_gradients[0].data(), parameter_gradients[1].data());
    if (!input_gradient.empty()) op_->BackwardData(input, parameters[0].data(), output_gradient, input_gradient);
  }

  const kernels::Shape shape_;
  const std::vector<std::uint32_t> weights_;  // their shape
  const std::unique_ptr<kernels::LayerNorm> op_;
};

}  // namespace

absl::StatusOr<AnyLayer> MakeLayerNorm(const LayerContext& context) {
  const downpour::Layer& config = context.config;
  const kernels::Shape& shape = context.input();
  kernels::LayerNormSpec spec{.shape = shape, .length = shape.size()};
  if (config.has_epsilon()) spec.epsilon = config.epsilon();
  if (!(spec.epsilon > 0)) return LayerError(context, "epsilon is ", spec.epsilon, ", not above 0");
  const auto side = [](int of) { return static_cast<std::uint32_t>(of); };
  std::vector<std::uint32_t> weights{side(shape.channels), side(shape.height), side(shape.width)};
  if (config.axis() == "step") {
    spec.length = shape.width;
    weights = {side(shape.width)};
  } else if (config.has_axis() && config.axis() != "sample") {
    return LayerError(context, "has no axis '", config.axis(), "'; known are sample and step");
  } else if (shape.height == 1 && shape.width == 1) {
    weights = {side(shape.channels)};
  }
  auto op = context.device.MakeLayerNorm(spec, context.max_batch);
  return std::make_unique<LayerNorm>(shape, std::move(weights), std::move(op));
}

}  // namespace downpour::worker
