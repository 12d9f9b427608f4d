#include "worker/layers/recurrent.h"

#include <cmath>
#include <limits>

#include "worker/layers/errors.h"
#include "worker/layers/sequence.h"

namespace downpour::worker {
namespace {

constexpr std::size_t kMaxValues = std::size_t{1} << 26;  // outputs of all steps of a sample

class Recurrent final : public UnaryLayer {
 public:
  Recurrent(const kernels::RecurrentSpec& spec, int gates, std::unique_ptr<kernels::Recurrent> op)
      : spec_(spec), gates_(gates), op_(std::move(op)) {}

  kernels::Shape output() const override { return spec_.output(); }

  std::vector<ParameterSpec> parameters() const override {
    const std::uint32_t inputs = spec_.inputs, outputs = spec_.outputs, rows = gates_ * outputs;
    std::vector<ParameterSpec> specs = {{"weight_ih_l0", {rows, inputs}},
                                        {"weight_hh_l0", {rows, outputs}},
                                        {"bias_ih_l0", {rows}},
                                        {"bias_hh_l0", {rows}}};
    for (ParameterSpec& spec : specs) {
      spec.filler = Filler::kUniform;
      spec.highest = 1 / std::sqrt(static_cast<float>(outputs));
      spec.lowest = -spec.highest;
    }
    return specs;
  }

  std::uint64_t multiply_accumulates() const override {
    return std::uint64_t{1} * spec_.steps * gates_ * spec_.outputs * (spec_.inputs + spec_.outputs);
  }

 private:
  void Forward(kernels::ConstTensorView input, ConstTensors parameters, kernels::TensorView output) override {
    op_->Forward(input, Weights(parameters), output);
  }

  void Backward(kernels::ConstTensorView input, ConstTensors parameters, kernels::ConstTensorView,
                kernels::ConstTensorView output_gradient, Tensors parameter_gradients,
                kernels::TensorView input_gradient) override {
    op_->Backward(input, Weights(parameters), output_gradient,
                  {parameter_gradients[0].data(), parameter_gradients[1].data(), parameter_gradients[2].data(),
                   parameter_gradients[3].data()},
                  input_gradient);
  }

  static kernels::RecurrentWeights Weights(ConstTensors parameters) {
    return {parameters[0].data(), parameters[1].data(), parameters[2].data(), parameters[3].data()};
  }

  const kernels::RecurrentSpec spec_;
  const int gates_;
  const std::unique_ptr<kernels::Recurrent> op_;
};

using MakeOp = std::unique_ptr<kernels::Recurrent> (kernels::Device::*)(const kernels::RecurrentSpec&, int);

absl::StatusOr<AnyLayer> Make(const LayerContext& context, int gates, MakeOp make_op) {
  if (absl::Status status = CheckSequence(context); !status.ok()) return status;
  const std::size_t steps = context.input().channels, inputs = context.input().width,
                    outputs = context.config.outputs();
  if (outputs == 0) return LayerError(context, "outputs is 0; it needs at least 1");
  if (outputs > kMaxValues / steps)
    return LayerError(context, outputs, " outputs are more than 2^26 in ", steps, " steps");
  if (inputs + outputs > std::numeric_limits<std::int32_t>::max() / gates / outputs) {
    return LayerError(context, outputs, " outputs need more than 2^31 weights");
  }
  const kernels::RecurrentSpec spec{.steps = static_cast<int>(steps),
                                    .inputs = static_cast<int>(inputs),
                                    .outputs = static_cast<int>(outputs),
                                    .last = context.config.last()};
  auto op = (context.device.*make_op)(spec, context.max_batch);
  return std::make_unique<Recurrent>(spec, gates, std::move(op));
}

}  // namespace

absl::StatusOr<AnyLayer> MakeLstm(const LayerContext& context) { return Make(context, 4, &kernels::Device::MakeLstm); }
absl::StatusOr<AnyLayer> MakeGru(const LayerContext& context) { return Make(context, 3, &kernels::Device::MakeGru); }

}  // namespace downpour::worker
