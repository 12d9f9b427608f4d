#include "worker/layers/reshape.h"

#include <cstdint>

#include "worker/layers/errors.h"

namespace downpour::worker {
namespace {

// A copy, for which the sum of one input does.
class Reshape final : public UnaryLayer {
 public:
  Reshape(const kernels::Shape& output, const LayerContext& context)
      : output_(output),
        copy_(context.device.MakeEltwise(kernels::EltwiseOperation::kSum, output, context.max_batch)) {}

  kernels::Shape output() const override { return output_; }
  bool gradient_in_place() const override { return true; }

 private:
  void Forward(kernels::ConstTensorView input, ConstTensors, kernels::TensorView output) override {
    Copy(input, output);
  }

  void Backward(kernels::ConstTensorView, ConstTensors, kernels::ConstTensorView,
                kernels::ConstTensorView output_gradient, Tensors, kernels::TensorView input_gradient) override {
    if (!input_gradient.empty() && input_gradient.data != output_gradient.data) Copy(output_gradient, input_gradient);
  }

  void Copy(kernels::ConstTensorView from, kernels::TensorView to) {
    const kernels::ConstTensorView input{from.data, from.batch, output_};
    copy_->Forward({&input, 1}, {to.data, to.batch, output_});
  }

  const kernels::Shape output_;
  const std::unique_ptr<kernels::Eltwise> copy_;
};

}  // namespace

absl::StatusOr<AnyLayer> MakeReshape(const LayerContext& context) {
  const auto& sides = context.config.shape();
  if (sides.size() != 1 && sides.size() != 3) {
    return LayerError(context, "shape has ", sides.size(), " sides; it needs 1, or channels, height and width");
  }
  std::uint64_t left = context.input().size();
  for (const std::uint32_t side : sides) {
    if (side == 0 || left % side != 0) left = 0;
    if (left == 0) break;
    left /= side;
  }
  if (left != 1) {
    return LayerError(context, "shape, ", absl::StrJoin(sides, "x"), ", has not as many values as its input, ",
                      context.input().size());
  }
  const auto side = [&](int i) { return static_cast<int>(sides[i]); };
  const kernels::Shape output = sides.size() == 1 ? kernels::Shape{side(0)} : kernels::Shape{side(0), side(1), side(2)};
  return std::make_unique<Reshape>(output, context);
}

absl::StatusOr<AnyLayer> MakeFlatten(const LayerContext& context) {
  return std::make_unique<Reshape>(kernels::Shape{static_cast<int>(context.input().size())}, context);
}

}  // namespace downpour::worker
