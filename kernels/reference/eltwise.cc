#include "kernels/eltwise.h"

#include <algorithm>

#include "kernels/reference/device.h"

namespace downpour::kernels::reference {
namespace {

class ReferenceEltwise final : public Eltwise {
 public:
  explicit ReferenceEltwise(EltwiseOperation operation) : operation_(operation) {}

  void Forward(std::span<const ConstTensorView> inputs, TensorView output) override {
    for (std::size_t i = 0; i < output.size(); ++i) {
      float value = inputs[0].data[i];
      for (std::size_t k = 1; k < inputs.size(); ++k) value = Combine(value, inputs[k].data[i]);
      output.data[i] = value;
    }
  }

  void Backward(std::span<const ConstTensorView> inputs, ConstTensorView, ConstTensorView output_gradient,
                std::size_t index, TensorView input_gradient) override {
    for (std::size_t i = 0; i < output_gradient.size(); ++i) {
      input_gradient.data[i] = Slope(inputs, index, i) * output_gradient.data[i];
    }
  }

 private:
  float Combine(float a, float b) const {
    switch (operation_) {
      case EltwiseOperation::kSum: return a + b;
      case EltwiseOperation::kProduct: return a * b;
      case EltwiseOperation::kMax: return std::max(a, b);
    }
    return a;
  }

  // d output / d input, of input `index` at value `i`.
  float Slope(std::span<const ConstTensorView> inputs, std::size_t index, std::size_t i) const {
    if (operation_ == EltwiseOperation::kSum) return 1;
    float product = 1;
    std::size_t largest = 0;
    for (std::size_t k = 0; k < inputs.size(); ++k) {
      if (k != index) product *= inputs[k].data[i];
      if (inputs[k].data[i] > inputs[largest].data[i]) largest = k;
    }
    return operation_ == EltwiseOperation::kProduct ? product : largest == index;
  }

  const EltwiseOperation operation_;
};

}  // namespace

std::unique_ptr<Eltwise> MakeEltwise(EltwiseOperation operation) {
  return std::make_unique<ReferenceEltwise>(operation);
}

}  // namespace downpour::kernels::reference
