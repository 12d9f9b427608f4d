#include "worker/layers/inner_product.h"

#include <limits>

#include "worker/layers/errors.h"
#include "worker/layers/filler.h"

namespace downpour::worker {
namespace {

class InnerProduct final : public UnaryLayer {
 public:
  InnerProduct(const kernels::InnerProductSpec& spec, Filler filler, const LayerContext& context)
      : spec_(spec), filler_(filler), op_(context.device.MakeInnerProduct(spec, context.max_batch)) {}

  kernels::Shape output() const override { return {.channels = spec_.outputs}; }

  std::vector<ParameterSpec> parameters() const override {
    const std::uint32_t outputs = spec_.outputs, inputs = spec_.inputs;
    return {{"weight", {outputs, inputs}, filler_, spec_.inputs}, {"bias", {outputs}}};
  }

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

  const kernels::InnerProductSpec spec_;
  const Filler filler_;
  const std::unique_ptr<kernels::InnerProduct> op_;
};

}  // namespace

absl::StatusOr<AnyLayer> MakeInnerProduct(const LayerContext& context) {
  const downpour::Layer& config = context.config;
  if (config.outputs() == 0) return LayerError(context, "outputs is 0; it needs at least 1");
  absl::StatusOr<Filler> filler = FillerFromName(config.filler());
  if (!filler.ok()) return LayerError(context, filler.status().message());
  const std::size_t inputs = context.input().size();
  if (inputs > std::numeric_limits<std::int32_t>::max() / config.outputs()) {
    return LayerError(context, config.outputs(), " outputs need more than 2^31 weights");
  }
  kernels::InnerProductSpec spec{.inputs = static_cast<int>(inputs),
                                 .outputs = static_cast<int>(config.outputs())};
  return std::make_unique<InnerProduct>(spec, *filler, context);
}

}  // namespace downpour::worker
