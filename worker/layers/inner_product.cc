#include "worker/layers/inner_product.h"

#include <limits>
#include <utility>
#include <vector>

#include "worker/layers/errors.h"
#include "worker/layers/filler.h"
#include "worker/layers/sequence.h"

namespace downpour::worker {
namespace {

class InnerProduct final : public UnaryLayer {
 public:
  InnerProduct(const kernels::InnerProductSpec& spec, kernels::Shape output, std::vector<ParameterSpec> parameters,
               const LayerContext& context)
      : output_(output),
        rows_(static_cast<int>(output.size() / spec.outputs)),
        parameters_(std::move(parameters)),
        op_(context.device.MakeInnerProduct(spec, context.max_batch * rows_)) {}

  kernels::Shape output() const override { return output_; }
  std::vector<ParameterSpec> parameters() const override { return parameters_; }
  std::uint64_t multiply_accumulates() const override { return parameters_[0].size() * rows_; }

 private:
  void Forward(kernels::ConstTensorView input, ConstTensors parameters, kernels::TensorView output) override {
    op_->Forward(RowsOf(input, rows_), parameters[0].data(), parameters[1].data(), RowsOf(output, rows_));
  }

  void Backward(kernels::ConstTensorView input, ConstTensors parameters, kernels::ConstTensorView,
                kernels::ConstTensorView output_gradient, Tensors parameter_gradients,
                kernels::TensorView input_gradient) override {
    const kernels::ConstTensorView gradient = RowsOf(output_gradient, rows_);
    op_->BackwardWeights(RowsOf(input, rows_), gradient, parameter_gradients[0].data(), parameter_gradients[1].data());
    if (!input_gradient.empty()) op_->BackwardData(gradient, parameters[0].data(), RowsOf(input_gradient, rows_));
  }

  const kernels::Shape output_;
  const int rows_;  // in a sample: its steps, or just itself
  const std::vector<ParameterSpec> parameters_;
  const std::unique_ptr<kernels::InnerProduct> op_;
};

}  // namespace

absl::StatusOr<AnyLayer> MakeInnerProduct(const LayerContext& context) {
  const downpour::Layer& config = context.config;
  if (config.outputs() == 0) return LayerError(context, "outputs is 0; it needs at least 1");
  if (config.per_step()) {
    if (absl::Status status = CheckSequence(context); !status.ok()) return status;
  }
  const std::size_t inputs = config.per_step() ? context.input().width : context.input().size();
  if (inputs > std::numeric_limits<std::int32_t>::max() / config.outputs()) {
    return LayerError(context, config.outputs(), " outputs need more than 2^31 weights");
  }
  kernels::InnerProductSpec spec{.inputs = static_cast<int>(inputs),
                                 .outputs = static_cast<int>(config.outputs())};
  auto weight = WeightSpec(context, {config.outputs(), static_cast<std::uint32_t>(inputs)}, spec.inputs);
  if (!weight.ok()) return weight.status();
  std::vector<ParameterSpec> parameters{*std::move(weight), BiasSpec(context, config.outputs())};
  kernels::Shape output{.channels = spec.outputs};
  if (config.per_step()) output = {context.input().channels, 1, spec.outputs};
  return std::make_unique<InnerProduct>(spec, output, std::move(parameters), context);
}

}  // namespace downpour::worker
