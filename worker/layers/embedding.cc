#include "worker/layers/embedding.h"

#include <limits>

#include "worker/layers/errors.h"

namespace downpour::worker {
namespace {

class Embedding final : public UnaryLayer {
 public:
  Embedding(const kernels::EmbeddingSpec& spec, std::unique_ptr<kernels::Embedding> op)
      : spec_(spec), op_(std::move(op)) {}

  kernels::Shape output() const override { return {spec_.steps, 1, spec_.outputs}; }

  std::vector<ParameterSpec> parameters() const override {
    const std::uint32_t vocabulary = spec_.vocabulary, outputs = spec_.outputs;
    return {{.name = "weight", .shape = {vocabulary, outputs}, .filler = Filler::kGaussian, .deviation = 1}};
  }

 private:
  void Forward(kernels::ConstTensorView input, ConstTensors parameters, kernels::TensorView output) override {
    op_->Forward(input, parameters[0].data(), output);
  }

  void Backward(kernels::ConstTensorView input, ConstTensors, kernels::ConstTensorView,
                kernels::ConstTensorView output_gradient, Tensors parameter_gradients,
                kernels::TensorView input_gradient) override {
    op_->BackwardWeights(input, output_gradient, parameter_gradients[0].data());
    if (!input_gradient.empty()) op_->BackwardData(input_gradient);
  }

  const kernels::EmbeddingSpec spec_;
  const std::unique_ptr<kernels::Embedding> op_;
};

}  // namespace

absl::StatusOr<AnyLayer> MakeEmbedding(const LayerContext& context) {
  const downpour::Layer& config = context.config;
  const kernels::Shape& input = context.input();
  if (input.height != 1 || input.width != 1) return LayerError(context, "needs a sequence of ids: one value a step");
  if (config.vocabulary() < 1 || config.vocabulary() > kernels::kMaxVocabulary) {
    return LayerError(context, "vocabulary is ", config.vocabulary(), ", not from 1 to ", kernels::kMaxVocabulary);
  }
  if (config.outputs() == 0) return LayerError(context, "outputs is 0; it needs at least 1");
  if (config.outputs() > std::numeric_limits<std::int32_t>::max() / config.vocabulary()) {
    return LayerError(context, config.outputs(), " outputs need more than 2^31 weights");
  }
  const kernels::EmbeddingSpec spec{.steps = input.channels,
                                    .vocabulary = static_cast<int>(config.vocabulary()),
                                    .outputs = static_cast<int>(config.outputs())};
  auto op = context.device.MakeEmbedding(spec, context.max_batch);
  return std::make_unique<Embedding>(spec, std::move(op));
}

}  // namespace downpour::worker
