#include "worker/layers/batch_norm.h"

#include "worker/layers/errors.h"

namespace downpour::worker {
namespace {

enum Tensor { kWeight, kBias, kMean, kVariance };

class BatchNorm final : public Layer {
 public:
  BatchNorm(const kernels::BatchNormSpec& spec, const LayerContext& context)
      : shape_(spec.shape), op_(context.device.MakeBatchNorm(spec, context.max_batch)) {}

  kernels::Shape output() const override { return shape_; }

  std::vector<ParameterSpec> parameters() const override {
    const std::uint32_t channels = shape_.channels;
    return {{.name = "weight", .shape = {channels}, .filler = Filler::kConstant, .value = 1},
            {.name = "bias", .shape = {channels}},
            {.name = "running_mean", .shape = {channels}, .average = true},
            {.name = "running_var", .shape = {channels}, .filler = Filler::kConstant, .value = 1, .average = true}};
  }

  void Forward(ConstTensorViews inputs, ConstTensors parameters, kernels::TensorView output) override {
    op_->Forward(inputs[0], parameters[kWeight].data(), parameters[kBias].data(), parameters[kMean].data(),
                 parameters[kVariance].data(), output);
  }

  void ForwardInTraining(ConstTensorViews inputs, ConstTensors parameters, kernels::TensorView output,
                         const std::uint64_t*) override {
    op_->ForwardInTraining(inputs[0], parameters[kWeight].data(), parameters[kBias].data(), output);
  }

  void Backward(ConstTensorViews inputs, ConstTensors parameters, kernels::ConstTensorView,
                kernels::ConstTensorView output_gradient, Tensors parameter_gradients,
                TensorViews input_gradients) override {
    op_->BackwardWeights(inputs[0], output_gradient, parameter_gradients[kWeight].data(),
                         parameter_gradients[kBias].data());
    op_->AverageGradients(parameters[kMean].data(), parameters[kVariance].data(), parameter_gradients[kMean].data(),
                          parameter_gradients[kVariance].data());
    if (!input_gradients[0].empty()) {
      op_->BackwardData(inputs[0], parameters[kWeight].data(), output_gradient, input_gradients[0]);
    }
  }

 private:
  const kernels::Shape shape_;
  const std::unique_ptr<kernels::BatchNorm> op_;
};

}  // namespace

absl::StatusOr<AnyLayer> MakeBatchNorm(const LayerContext& context) {
  const downpour::Layer& config = context.config;
  kernels::BatchNormSpec spec{.shape = context.input()};
  if (config.has_epsilon()) spec.epsilon = config.epsilon();
  if (config.has_moving_average_fraction()) spec.keep = config.moving_average_fraction();
  if (!(spec.epsilon > 0)) return LayerError(context, "epsilon is ", spec.epsilon, ", not above 0");
  if (!(spec.keep >= 0 && spec.keep <= 1)) {
    return LayerError(context, "moving_average_fraction is ", spec.keep, ", not from 0 to 1");
  }
  return std::make_unique<BatchNorm>(spec, context);
}

}  // namespace downpour::worker
