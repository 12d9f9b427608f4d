#include "worker/layers/pooling.h"

#include <algorithm>

#include "worker/layers/errors.h"

namespace downpour::worker {
namespace {

// Op: kernels::MaxPool2d or kernels::AveragePool2d.
template <typename Op>
class Pooling final : public UnaryLayer {
 public:
  Pooling(const kernels::Shape& output, std::unique_ptr<Op> op) : output_(output), op_(std::move(op)) {}

  kernels::Shape output() const override { return output_; }

 private:
  void Forward(kernels::ConstTensorView input, ConstTensors, kernels::TensorView output) override {
    op_->Forward(input, output);
  }

  void Backward(kernels::ConstTensorView, ConstTensors, kernels::ConstTensorView,
                kernels::ConstTensorView output_gradient, Tensors,
                kernels::TensorView input_gradient) override {
    if (!input_gradient.empty()) op_->Backward(output_gradient, input_gradient);
  }

  const kernels::Shape output_;
  const std::unique_ptr<Op> op_;
};

absl::StatusOr<kernels::Pool2dSpec> SpecOf(const LayerContext& context) {
  const downpour::Layer& config = context.config;
  const std::uint32_t stride = config.has_stride() ? config.stride() : 1;
  constexpr std::uint32_t kMaxSide = 1 << 16;
  if (config.kernel() == 0) return LayerError(context, "kernel is 0; it needs at least 1");
  if (stride == 0 || stride > kMaxSide) {
    return LayerError(context, "stride is ", stride, ", not in [1, ", kMaxSide, "]");
  }
  if (config.pad() >= config.kernel()) {
    return LayerError(context, "pad is ", config.pad(), ", not less than the kernel, ", config.kernel());
  }
  const auto side = static_cast<std::uint64_t>(std::min(context.input().height, context.input().width));
  if (config.kernel() > side + 2 * std::uint64_t{config.pad()}) {
    return LayerError(context, "kernel ", config.kernel(), " is larger than its input");
  }
  return kernels::Pool2dSpec{.input = context.input(),
                             .kernel = static_cast<int>(config.kernel()),
                             .stride = static_cast<int>(stride),
                             .pad = static_cast<int>(config.pad()),
                             .round_up = config.round_up()};
}

absl::StatusOr<AnyLayer> Make(const kernels::Pool2dSpec& spec, const LayerContext& context) {
  const std::string& method = context.config.method();
  if (method.empty() || method == "max") {
    return std::make_unique<Pooling<kernels::MaxPool2d>>(spec.output(),
                                                         context.device.MakeMaxPool2d(spec, context.max_batch));
  }
  if (method == "average") {
    return std::make_unique<Pooling<kernels::AveragePool2d>>(
        spec.output(), context.device.MakeAveragePool2d(spec, context.max_batch));
  }
  return LayerError(context, "unknown method '", method, "'; known are max and average");
}

}  // namespace

absl::StatusOr<AnyLayer> MakePooling(const LayerContext& context) {
  const auto spec = SpecOf(context);
  if (!spec.ok()) return spec.status();
  return Make(*spec, context);
}

absl::StatusOr<AnyLayer> MakeGlobalPooling(const LayerContext& context) {
  return Make({.input = context.input(), .global = true}, context);
}

}  // namespace downpour::worker
