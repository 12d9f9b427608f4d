#include "worker/layers/pooling.h"

#include <algorithm>

#include "worker/layers/errors.h"

namespace downpour::worker {
namespace {

class MaxPooling final : public UnaryLayer {
 public:
  MaxPooling(const kernels::MaxPool2dSpec& spec, const LayerContext& context)
      : spec_(spec), op_(context.device.MakeMaxPool2d(spec, context.max_batch)) {}

  kernels::Shape output() const override { return spec_.output(); }

 private:
  void Forward(kernels::ConstTensorView input, ConstTensors, kernels::TensorView output) override {
    op_->Forward(input, output);
  }

  void Backward(kernels::ConstTensorView, ConstTensors, kernels::ConstTensorView,
                kernels::ConstTensorView output_gradient, Tensors,
                kernels::TensorView input_gradient) override {
    if (!input_gradient.empty()) op_->Backward(output_gradient, input_gradient);
  }

  const kernels::MaxPool2dSpec spec_;
  const std::unique_ptr<kernels::MaxPool2d> op_;
};

}  // namespace

absl::StatusOr<AnyLayer> MakePooling(const LayerContext& context) {
  const downpour::Layer& config = context.config;
  const std::uint32_t stride = config.has_stride() ? config.stride() : 1;
  constexpr std::uint32_t kMaxSide = 1 << 16;
  if (!config.method().empty() && config.method() != "max") {
    return LayerError(context, "unknown method '", config.method(), "'; known are: max");
  }
  if (config.kernel() == 0) return LayerError(context, "kernel is 0; it needs at least 1");
  if (stride == 0 || stride > kMaxSide)
    return LayerError(context, "stride is ", stride, ", not in [1, ", kMaxSide, "]");
  const auto side = static_cast<std::uint32_t>(std::min(context.input().height, context.input().width));
  if (config.kernel() > side)
    return LayerError(context, "kernel ", config.kernel(), " is larger than its input");
  kernels::MaxPool2dSpec spec{.input = context.input(),
                              .kernel = static_cast<int>(config.kernel()),
                              .stride = static_cast<int>(stride)};
  return std::make_unique<MaxPooling>(spec, context);
}

}  // namespace downpour::worker
