#include "worker/layers/concat.h"

#include <cstdint>
#include <limits>

#include "worker/layers/errors.h"

namespace downpour::worker {
namespace {

class Concat final : public Layer {
 public:
  Concat(std::vector<kernels::Shape> shapes, kernels::Shape output, const LayerContext& context)
      : output_(output), op_(context.device.MakeConcat(shapes, context.max_batch)), shapes_(std::move(shapes)) {}

  kernels::Shape output() const override { return output_; }

  void Forward(ConstTensorViews inputs, ConstTensors, kernels::TensorView output) override {
    op_->Forward(inputs, output);
  }

  void Backward(ConstTensorViews, ConstTensors, kernels::ConstTensorView, kernels::ConstTensorView output_gradient,
                Tensors, TensorViews input_gradients) override {
    int first_channel = 0;
    for (std::size_t k = 0; k < shapes_.size(); ++k) {
      if (!input_gradients[k].empty()) op_->Backward(output_gradient, first_channel, input_gradients[k]);
      first_channel += shapes_[k].channels;
    }
  }

 private:
  const kernels::Shape output_;
  const std::unique_ptr<kernels::Concat> op_;
  const std::vector<kernels::Shape> shapes_;
};

}  // namespace

absl::StatusOr<AnyLayer> MakeConcat(const LayerContext& context) {
  const kernels::Shape& first = context.input();
  std::vector<kernels::Shape> shapes;
  std::int64_t channels = 0;
  for (const LayerInput& input : context.inputs) {
    if (input.shape.height != first.height || input.shape.width != first.width) {
      return LayerError(context, "needs inputs of one height and width");
    }
    shapes.push_back(input.shape);
    channels += input.shape.channels;
  }
  if (channels > std::numeric_limits<std::int32_t>::max()) return LayerError(context, "has more than 2^31 channels");
  const kernels::Shape output{static_cast<int>(channels), first.height, first.width};
  return std::make_unique<Concat>(std::move(shapes), output, context);
}

}  // namespace downpour::worker
