#include "worker/layers/lrn.h"

#include <utility>

#include "worker/layers/errors.h"

namespace downpour::worker {
namespace {

class Lrn final : public UnaryLayer {
 public:
  Lrn(const kernels::Shape& shape, std::unique_ptr<kernels::Lrn> op) : shape_(shape), op_(std::move(op)) {}

  kernels::Shape output() const override { return shape_; }

 private:
  void Forward(kernels::ConstTensorView input, ConstTensors, kernels::TensorView output) override {
    op_->Forward(input, output);
  }

  void Backward(kernels::ConstTensorView input, ConstTensors, kernels::ConstTensorView output,
                kernels::ConstTensorView output_gradient, Tensors, kernels::TensorView input_gradient) override {
    if (!input_gradient.empty()) op_->Backward(input, output, output_gradient, input_gradient);
  }

  const kernels::Shape shape_;
  const std::unique_ptr<kernels::Lrn> op_;
};

}  // namespace

absl::StatusOr<AnyLayer> MakeLrn(const LayerContext& context) {
  const downpour::Layer& config = context.config;
  kernels::LrnSpec spec{.shape = context.input()};
  if (config.region() == "within_channel") {
    spec.region = kernels::LrnSpec::Region::kWithinChannel;
  } else if (config.has_region() && config.region() != "across_channels") {
    return LayerError(context, "unknown region '", config.region(), "'; known are across_channels and within_channel");
  }
  if (config.has_local_size()) spec.local_size = static_cast<int>(config.local_size());
  if (config.has_alpha()) spec.alpha = config.alpha();
  if (config.has_beta()) spec.beta = config.beta();
  if (config.has_k()) spec.k = config.k();
  constexpr int kMaxSize = 1 << 10;
  if (spec.local_size < 1 || spec.local_size > kMaxSize || spec.local_size % 2 == 0) {
    return LayerError(context, "local_size is ", config.local_size(), ", not an odd number below ", kMaxSize);
  }
  if (!(spec.alpha >= 0 && spec.beta >= 0)) return LayerError(context, "alpha or beta is below 0");
  if (!(spec.k > 0)) return LayerError(context, "k is ", spec.k, ", not above 0");
  auto op = context.device.MakeLrn(spec, context.max_batch);
  return std::make_unique<Lrn>(spec.shape, std::move(op));
}

}  // namespace downpour::worker
