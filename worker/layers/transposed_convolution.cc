#include "worker/layers/transposed_convolution.h"

#include <utility>
#include <vector>

#include "worker/layers/conv_keys.h"
#include "worker/layers/errors.h"
#include "worker/layers/filler.h"

namespace downpour::worker {
namespace {

// `spec` is the convolution that goes the other way: its input is this one's output.
class TransposedConvolution final : public UnaryLayer {
 public:
  TransposedConvolution(const kernels::Conv2dSpec& spec, std::vector<ParameterSpec> parameters,
                        std::unique_ptr<kernels::Conv2d> op, std::unique_ptr<kernels::ChannelBias> bias,
                        kernels::Device& device)
      : output_(spec.input),
        places_(spec.output().size() / spec.outputs),
        parameters_(std::move(parameters)),
        op_(std::move(op)),
        bias_(std::move(bias)),
        no_bias_(device.MakeBuffer(spec.outputs)),
        unused_(device.MakeBuffer(spec.outputs)) {}

  kernels::Shape output() const override { return output_; }
  std::vector<ParameterSpec> parameters() const override { return parameters_; }
  std::uint64_t multiply_accumulates() const override { return parameters_[0].size() * places_; }

 private:
  void Forward(kernels::ConstTensorView input, ConstTensors parameters, kernels::TensorView output) override {
    op_->BackwardData(input, parameters[0].data(), output);
    bias_->Add(parameters[1].data(), output);
  }

  void Backward(kernels::ConstTensorView input, ConstTensors parameters, kernels::ConstTensorView,
                kernels::ConstTensorView output_gradient, Tensors parameter_gradients,
                kernels::TensorView input_gradient) override {
    op_->BackwardWeights(output_gradient, input, parameter_gradients[0].data(), unused_.data());
    bias_->Backward(output_gradient, parameter_gradients[1].data());
    if (!input_gradient.empty()) {
      op_->Forward(output_gradient, parameters[0].data(), no_bias_.data(), input_gradient);
    }
  }

  const kernels::Shape output_;
  const std::size_t places_;  // of its input
  const std::vector<ParameterSpec> parameters_;
  const std::unique_ptr<kernels::Conv2d> op_;
  const std::unique_ptr<kernels::ChannelBias> bias_;
  const kernels::Buffer no_bias_;  // zeros
  const kernels::Buffer unused_;   // takes the gradient of a bias that there is not
};

}  // namespace

absl::StatusOr<AnyLayer> MakeTransposedConvolution(const LayerContext& context) {
  absl::StatusOr<kernels::Conv2dSpec> spec = ConvKeys(context);
  if (!spec.ok()) return spec.status();
  const kernels::Shape& input = context.input();
  constexpr std::int64_t kMaxSide = 1 << 24;
  const auto side = [&](int of) { return (of - std::int64_t{1}) * spec->stride + spec->extent() - 2 * spec->pad; };
  if (side(input.height) < 1 || side(input.width) < 1) {
    return LayerError(context, "a pad of ", spec->pad, " leaves nothing of its output");
  }
  if (side(input.height) > kMaxSide || side(input.width) > kMaxSide) {
    return LayerError(context, "its output has a side above ", kMaxSide);
  }
  spec->input = {spec->outputs, static_cast<int>(side(input.height)), static_cast<int>(side(input.width))};
  spec->outputs = input.channels;
  if (absl::Status status = CheckConvSize(context, *spec); !status.ok()) return status;
  const std::uint32_t channels = spec->outputs, outputs = spec->input.channels, kernel = spec->kernel;
  const std::uint32_t group_outputs = outputs / spec->groups;
  const int met = (spec->kernel + spec->stride - 1) / spec->stride;
  auto weight =
      WeightSpec(context, {channels, group_outputs, kernel, kernel}, spec->outputs / spec->groups * met * met);
  if (!weight.ok()) return weight.status();
  auto op = context.device.MakeConv2d(*spec, context.max_batch);
  auto bias = context.device.MakeChannelBias(spec->input, context.max_batch);
  std::vector<ParameterSpec> parameters{*std::move(weight), BiasSpec(context, outputs)};
  return std::make_unique<TransposedConvolution>(*spec, std::move(parameters), std::move(op), std::move(bias),
                                                 context.device);
}

}  // namespace downpour::worker
