#include "worker/layers/maxout.h"

#include <utility>

#include "worker/layers/errors.h"

namespace downpour::worker {
namespace {

class Maxout final : public UnaryLayer {
 public:
  Maxout(const kernels::Shape& output, std::unique_ptr<kernels::Maxout> op) : output_(output), op_(std::move(op)) {}

  kernels::Shape output() const override { return output_; }

 private:
  void Forward(kernels::ConstTensorView input, ConstTensors, kernels::TensorView output) override {
    op_->Forward(input, output);
  }

  void Backward(kernels::ConstTensorView input, ConstTensors, kernels::ConstTensorView output,
                kernels::ConstTensorView output_gradient, Tensors, kernels::TensorView input_gradient) override {
    if (!input_gradient.empty()) op_->Backward(input, output, output_gradient, input_gradient);
  }

  const kernels::Shape output_;
  const std::unique_ptr<kernels::Maxout> op_;
};

}  // namespace

absl::StatusOr<AnyLayer> MakeMaxout(const LayerContext& context) {
  const std::uint32_t pieces = context.config.pieces(), channels = context.input().channels;
  if (pieces == 0 || channels % pieces != 0) {
    return LayerError(context, "pieces, ", pieces, ", does not divide the channels, ", channels);
  }
  const kernels::MaxoutSpec spec{.input = context.input(), .pieces = static_cast<int>(pieces)};
  auto op = context.device.MakeMaxout(spec, context.max_batch);
  return std::make_unique<Maxout>(spec.output(), std::move(op));
}

}  // namespace downpour::worker
