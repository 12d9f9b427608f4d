#include "worker/layers/convolution.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "worker/layers/errors.h"
#include "worker/layers/filler.h"

namespace downpour::worker {
namespace {

class Convolution final : public UnaryLayer {
 public:
  Convolution(const kernels::Conv2dSpec& spec, Filler filler, std::unique_ptr<kernels::Conv2d> op)
      : spec_(spec), filler_(filler), op_(std::move(op)) {}

  kernels::Shape output() const override { return spec_.output(); }

  std::vector<ParameterSpec> parameters() const override {
    const std::uint32_t outputs = spec_.outputs, channels = spec_.input.channels / spec_.groups, kernel = spec_.kernel;
    return {{"weight",
             {outputs, channels, kernel, kernel},
             filler_,
             static_cast<int>(channels) * spec_.kernel * spec_.kernel},
            {"bias", {outputs}}};
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

  const kernels::Conv2dSpec spec_;
  const Filler filler_;
  const std::unique_ptr<kernels::Conv2d> op_;
};

}  // namespace

absl::StatusOr<AnyLayer> MakeConvolution(const LayerContext& context) {
  const downpour::Layer& config = context.config;
  const std::uint32_t stride = config.has_stride() ? config.stride() : 1;
  const std::uint32_t dilation = config.has_dilation() ? config.dilation() : 1;
  const std::uint32_t groups = config.has_groups() ? config.groups() : 1;
  constexpr std::uint32_t kMaxSide = 1 << 16;
  if (config.outputs() == 0) return LayerError(context, "outputs is 0; it needs at least 1");
  if (config.kernel() == 0) return LayerError(context, "kernel is 0; it needs at least 1");
  if (stride == 0) return LayerError(context, "stride is 0; it needs at least 1");
  if (dilation == 0) return LayerError(context, "dilation is 0; it needs at least 1");
  if (config.kernel() > kMaxSide || stride > kMaxSide || config.pad() > kMaxSide || dilation > kMaxSide) {
    return LayerError(context, "kernel, stride, pad or dilation is above ", kMaxSide);
  }
  const kernels::Shape& input = context.input();
  if (groups == 0 || config.outputs() % groups != 0 || input.channels % groups != 0) {
    return LayerError(context, groups, " groups divide not both outputs, ", config.outputs(), ", and channels, ",
                      input.channels);
  }
  const std::int64_t kernel = config.kernel(), extent = (kernel - 1) * dilation + 1;
  if (extent > std::min(input.height, input.width) + 2 * std::int64_t{config.pad()}) {
    return LayerError(context, "kernel ", kernel, dilation > 1 ? absl::StrCat(" with a dilation of ", dilation) : "",
                      " is larger than its input with a pad of ", config.pad());
  }
  absl::StatusOr<Filler> filler = FillerFromName(config.filler());
  if (!filler.ok()) return LayerError(context, filler.status().message());
  const double pixels = (input.height + 2.0 * config.pad()) * (input.width + 2.0 * config.pad());
  const double taps = static_cast<double>(input.channels) * kernel * kernel;
  constexpr double kMaxValues = std::numeric_limits<std::int32_t>::max();
  if (taps * config.outputs() > kMaxValues || taps * pixels > kMaxValues ||
      pixels * config.outputs() > kMaxValues) {
    return LayerError(context, config.outputs(), " outputs with a kernel of ", kernel,
                      " need more than 2^31 values in one tensor");
  }
  kernels::Conv2dSpec spec{.input = input,
                           .outputs = static_cast<int>(config.outputs()),
                           .kernel = static_cast<int>(kernel),
                           .stride = static_cast<int>(stride),
                           .pad = static_cast<int>(config.pad()),
                           .dilation = static_cast<int>(dilation),
                           .groups = static_cast<int>(groups)};
  std::unique_ptr<kernels::Conv2d> op = context.device.MakeConv2d(spec, context.max_batch);
  if (op == nullptr) return NotOnDevice(context);
  return std::make_unique<Convolution>(spec, *filler, std::move(op));
}

}  // namespace downpour::worker
