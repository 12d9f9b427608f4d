#include "worker/layers/convolution.h"

#include <algorithm>
#include <utility>

#include "worker/layers/conv_keys.h"
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
  absl::StatusOr<kernels::Conv2dSpec> spec = ConvKeys(context);
  if (!spec.ok()) return spec.status();
  spec->input = context.input();
  if (spec->extent() > std::min(spec->input.height, spec->input.width) + 2 * spec->pad) {
    return LayerError(context, "kernel ", spec->kernel,
                      spec->dilation > 1 ? absl::StrCat(" with a dilation of ", spec->dilation) : "",
                      " is larger than its input with a pad of ", spec->pad);
  }
  if (absl::Status status = CheckConvSize(context, *spec); !status.ok()) return status;
  absl::StatusOr<Filler> filler = FillerFromName(context.config.filler());
  if (!filler.ok()) return LayerError(context, filler.status().message());
  std::unique_ptr<kernels::Conv2d> op = context.device.MakeConv2d(*spec, context.max_batch);
  if (op == nullptr) return NotOnDevice(context);
  return std::make_unique<Convolution>(*spec, *filler, std::move(op));
}

}  // namespace downpour::worker
