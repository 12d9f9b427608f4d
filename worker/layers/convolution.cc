#include "worker/layers/convolution.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "worker/layers/conv_keys.h"
#include "worker/layers/errors.h"
#include "worker/layers/filler.h"

namespace downpour::worker {
namespace {

class Convolution final : public UnaryLayer {
 public:
  Convolution(const kernels::Shape& output, std::vector<ParameterSpec> parameters, std::unique_ptr<kernels::Conv2d> op)
      : output_(output), parameters_(std::move(parameters)), op_(std::move(op)) {}

  kernels::Shape output() const override { return output_; }
  std::vector<ParameterSpec> parameters() const override { return parameters_; }
  std::uint64_t multiply_accumulates() const override {
    return parameters_[0].size() * (output_.size() / output_.channels);
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

  const kernels::Shape output_;
  const std::vector<ParameterSpec> parameters_;
  const std::unique_ptr<kernels::Conv2d> op_;
};

}  // namespace

absl::StatusOr<AnyLayer> MakeConvolution(const LayerContext& context) {
  absl::StatusOr<kernels::Conv2dSpec> spec = ConvKeys(context);
  if (!spec.ok()) return spec.status();
  spec->input = context.input();
  if (spec->extent() > std::min(spec->input.height, spec->input.width) + 2 * spec->pad) {
    return LayerError(context, "kernel ", spec->kernel,
                      spec->dilation > 1 ? absl::StrCat(" with a dilation of ", spec->dilation) : "",
                      " is larger than its input with a pad of ", spec->pad);
  }
  if (absl::Status status = CheckConvSize(context, *spec); !status.ok()) return status;
  const std::uint32_t outputs = spec->outputs, channels = spec->input.channels / spec->groups, kernel = spec->kernel;
  auto weight = WeightSpec(context, {outputs, channels, kernel, kernel}, static_cast<int>(channels * kernel * kernel));
  if (!weight.ok()) return weight.status();
  std::unique_ptr<kernels::Conv2d> op = context.device.MakeConv2d(*spec, context.max_batch);
  return std::make_unique<Convolution>(
      spec->output(), std::vector<ParameterSpec>{*std::move(weight), BiasSpec(context, outputs)}, std::move(op));
}

}  // namespace downpour::worker
