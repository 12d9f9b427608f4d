#include "worker/layers/eltwise.h"

#include <string_view>

#include "worker/layers/errors.h"

namespace downpour::worker {
namespace {

struct Operation {
  std::string_view name;
  kernels::EltwiseOperation operation;
};

constexpr Operation kOperations[] = {{"sum", kernels::EltwiseOperation::kSum},
                                     {"product", kernels::EltwiseOperation::kProduct},
                                     {"max", kernels::EltwiseOperation::kMax}};

class Eltwise final : public Layer {
 public:
  Eltwise(kernels::EltwiseOperation operation, const LayerContext& context)
      : sum_(operation == kernels::EltwiseOperation::kSum),
        shape_(context.input()),
        op_(context.device.MakeEltwise(operation, shape_, context.max_batch)) {}

  kernels::Shape output() const override { return shape_; }
  bool gradient_in_place() const override { return sum_; }

  void Forward(ConstTensorViews inputs, ConstTensors, kernels::TensorView output) override {
    op_->Forward(inputs, output);
  }

  void Backward(ConstTensorViews inputs, ConstTensors, kernels::ConstTensorView output,
                kernels::ConstTensorView output_gradient, Tensors, TensorViews input_gradients) override {
    for (std::size_t k = 0; k < inputs.size(); ++k) {
      if (input_gradients[k].empty() || input_gradients[k].data == output_gradient.data) continue;
      op_->Backward(inputs, output, output_gradient, k, input_gradients[k]);
    }
  }

 private:
  const bool sum_;
  const kernels::Shape shape_;
  const std::unique_ptr<kernels::Eltwise> op_;
};

}  // namespace

absl::StatusOr<AnyLayer> MakeEltwise(const LayerContext& context) {
  for (const LayerInput& input : context.inputs) {
    if (input.shape != context.input()) return LayerError(context, "needs inputs of one shape");
  }
  const std::string& name = context.config.operation();
  for (const Operation& known : kOperations) {
    if (known.name == (name.empty() ? "sum" : name)) return std::make_unique<Eltwise>(known.operation, context);
  }
  return LayerError(context, "unknown operation '", name, "'; known are sum, product and max");
}

}  // namespace downpour::worker
