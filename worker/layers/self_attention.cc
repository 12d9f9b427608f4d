#include "worker/layers/self_attention.h"

#include <cmath>
#include <limits>

#include "worker/layers/errors.h"
#include "worker/layers/sequence.h"

namespace downpour::worker {
namespace {

enum Tensor { kInWeight, kInBias, kOutWeight, kOutBias };

constexpr std::size_t kMaxPairs = std::size_t{1} << 26;  // of steps, in all heads of a sample

class SelfAttention final : public UnaryLayer {
 public:
  SelfAttention(const kernels::AttentionSpec& spec, std::unique_ptr<kernels::Attention> op, const LayerContext& context)
      : shape_(context.input()),
        steps_(spec.steps),
        in_(context.device.MakeInnerProduct({spec.features, 3 * spec.features}, context.max_batch * spec.steps)),
        attention_(std::move(op)),
        out_(context.device.MakeInnerProduct({spec.features, spec.features}, context.max_batch * spec.steps)),
        projected_(context, {spec.steps, 1, 3 * spec.features}),
        projected_gradient_(context, projected_.shape),
        attended_(context, shape_),
        attended_gradient_(context, shape_) {}

  kernels::Shape output() const override { return shape_; }

  std::vector<ParameterSpec> parameters() const override {
    const std::uint32_t features = shape_.width;
    const auto inputs = static_cast<float>(features);
    const float in_bound = std::sqrt(6 / (inputs + 3 * inputs)), out_bound = 1 / std::sqrt(inputs);
    return {{.name = "in_proj_weight",
             .shape = {3 * features, features},
             .filler = Filler::kUniform,
             .lowest = -in_bound,
             .highest = in_bound},
            {.name = "in_proj_bias", .shape = {3 * features}},
            {.name = "out_proj.weight",
             .shape = {features, features},
             .filler = Filler::kUniform,
             .lowest = -out_bound,
             .highest = out_bound},
            {.name = "out_proj.bias", .shape = {features}}};
  }

  std::uint64_t multiply_accumulates() const override {
    const std::uint64_t steps = steps_, features = shape_.width;
    return steps * 4 * features * features + 2 * steps * steps * features;
  }

 private:
  // Values that the layer keeps for itself.
  struct Kept {
    Kept(const LayerContext& context, kernels::Shape of)
        : shape(of), buffer(context.device.MakeBuffer(context.max_batch * of.size())) {}
    kernels::TensorView Of(int batch) const { return {buffer.data(), batch, shape}; }

    kernels::Shape shape;
    kernels::Buffer buffer;
  };

  void Forward(kernels::ConstTensorView input, ConstTensors parameters, kernels::TensorView output) override {
    const kernels::TensorView projected = projected_.Of(input.batch), attended = attended_.Of(input.batch);
    in_->Forward(RowsOf(input, steps_), parameters[kInWeight].data(), parameters[kInBias].data(),
                 RowsOf(projected, steps_));
    attention_->Forward(projected, attended);
    out_->Forward(RowsOf<const float>(attended, steps_), parameters[kOutWeight].data(), parameters[kOutBias].data(),
                  RowsOf(output, steps_));
  }

  void Backward(kernels::ConstTensorView input, ConstTensors parameters, kernels::ConstTensorView,
                kernels::ConstTensorView output_gradient, Tensors parameter_gradients,
                kernels::TensorView input_gradient) override {
    const kernels::TensorView projected = projected_.Of(input.batch), attended = attended_.Of(input.batch);
    const kernels::TensorView projected_gradient = projected_gradient_.Of(input.batch);
    const kernels::TensorView attended_gradient = attended_gradient_.Of(input.batch);
    const kernels::ConstTensorView gradient = RowsOf(output_gradient, steps_);
    out_->BackwardWeights(RowsOf(attended, steps_), gradient, parameter_gradients[kOutWeight].data(),
                          parameter_gradients[kOutBias].data());
    out_->BackwardData(gradient, parameters[kOutWeight].data(), RowsOf(attended_gradient, steps_));
    attention_->Backward(projected, attended_gradient, projected_gradient);
    in_->BackwardWeights(RowsOf(input, steps_), RowsOf(projected_gradient, steps_),
                         parameter_gradients[kInWeight].data(), parameter_gradients[kInBias].data());
    if (input_gradient.empty()) return;
    in_->BackwardData(RowsOf(projected_gradient, steps_), parameters[kInWeight].data(), RowsOf(input_gradient, steps_));
  }

  const kernels::Shape shape_;
  const int steps_;
  const std::unique_ptr<kernels::InnerProduct> in_;
  const std::unique_ptr<kernels::Attention> attention_;
  const std::unique_ptr<kernels::InnerProduct> out_;
  // Of the last Forward and Backward.
  const Kept projected_;  // queries, keys and values
  const Kept projected_gradient_;
  const Kept attended_;
  const Kept attended_gradient_;
};

}  // namespace

absl::StatusOr<AnyLayer> MakeSelfAttention(const LayerContext& context) {
  if (absl::Status status = CheckSequence(context); !status.ok()) return status;
  const int steps = context.input().channels, features = context.input().width;
  const std::uint32_t heads = context.config.heads();
  if (heads < 1 || heads > static_cast<std::uint32_t>(features) || features % heads != 0) {
    return LayerError(context, "heads is ", heads, ", which does not divide the ", features, " features of a step");
  }
  if (features > std::numeric_limits<std::int32_t>::max() / 3 / features) {
    return LayerError(context, features, " features need more than 2^31 weights");
  }
  if (static_cast<std::size_t>(steps) * steps > kMaxPairs / heads) {
    return LayerError(context, "its heads would compare more than 2^26 pairs of steps in a sample");
  }
  const kernels::AttentionSpec spec{
      .steps = steps, .features = features, .heads = static_cast<int>(heads), .causal = context.config.causal()};
  auto op = context.device.MakeAttention(spec, context.max_batch);
  return std::make_unique<SelfAttention>(spec, std::move(op), context);
}

}  // namespace downpour::worker
