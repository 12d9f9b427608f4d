#include "worker/layers/inner_product.h"

#include <limits>
#include <utility>
#include <vector>

#include "worker/layers/errors.h"
#include "worker/layers/filler.h"

namespace downpour::worker {
namespace {

class InnerProduct final : public UnaryLayer {
 public:
  InnerProduct(const kernels::InnerProductSpec& spec, std::vector<ParameterSpec> parameters,
               const LayerContext& context)
      : outputs_(spec.outputs),
        parameters_(std::move(parameters)),
        op_(context.device.MakeInnerProduct(spec, context.max_batch)) {}

  kernels::Shape output() const override { return {.channels = outputs_}; }
  std::vector<ParameterSpec> parameters() const override { return parameters_; }

 private:
  void Forward(kernels::ConstTensorView input, ConstTensors parameters, kernels::TensorView output) override {
    op_->Forward(input, parameters[0].data(), parameters[1].data(), output);
  }

  void Backward(kernels::ConstTensorView input, ConstTensors parameters, kernels::ConstTensorView,
                kernels::ConstTensorView output_gradient, Tensors parameter_gradients,
                kernels::TensorView input_gradient) override {
    op_->BackwardWeights(input, output_gradient, parameter_gradients[0].data(),
                         parameter_gradients[1].data());
    if (!input_gradient.empty()) op_->BackwardData(output_gradient, parameters[0].data(), input_gradient);
  }

  const int outputs_;
  const std::vector<ParameterSpec> parameters_;
  const std::unique_ptr<kernels::InnerProduct> op_;
};

}  // namespace

absl::StatusOr<AnyLayer> MakeInnerProduct(const LayerContext& context) {
  const downpour::Layer& config = context.config;
  if (config.outputs() == 0) return LayerError(context, "outputs is 0; it needs at least 1");
  const std::size_t inputs = context.input().size();
  if (inputs > std::numeric_limits<std::int32_t>::max() / config.outputs()) {
    return LayerError(context, config.outputs(), " outputs need more than 2^31 weights");
  }
  kernels::InnerProductSpec spec{.inputs = static_cast<int>(inputs),
                                 .outputs = static_cast<int>(config.outputs())};
  auto weight = WeightSpec(context, {config.outputs(), static_cast<std::uint32_t>(inputs)}, spec.inputs);
  if (!weight.ok()) return weight.status();
  std::vector<ParameterSpec> parameters{*std::move(weight), BiasSpec(context, config.outputs())};
  return std::make_unique<InnerProduct>(spec, std::move(parameters), context);
}

}  // namespace downpour::worker
