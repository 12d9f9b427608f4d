#include "kernels/relu.h"

#include "kernels/reference/device.h"

namespace downpour::kernels::reference {
namespace {

class ReferenceRelu final : public Relu {
 public:
  void Forward(ConstTensorView input, TensorView output) override {
    for (std::size_t i = 0; i < input.size(); ++i) output.data[i] = input.data[i] < 0 ? 0 : input.data[i];
  }

  void Backward(ConstTensorView output, ConstTensorView output_gradient, TensorView input_gradient) override {
    for (std::size_t i = 0; i < output.size(); ++i) {
      input_gradient.data[i] = output.data[i] > 0 ? output_gradient.data[i] : 0;
    }
  }
};

}  // namespace

std::unique_ptr<Relu> MakeRelu() { return std::make_unique<ReferenceRelu>(); }

}  // namespace downpour::kernels::reference
