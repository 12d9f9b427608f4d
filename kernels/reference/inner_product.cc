#include "kernels/inner_product.h"

#include <algorithm>

#include "kernels/reference/device.h"

namespace downpour::kernels::reference {
namespace {

class ReferenceInnerProduct final : public InnerProduct {
 public:
  explicit ReferenceInnerProduct(const InnerProductSpec& spec)
      : inputs_(spec.inputs), outputs_(spec.outputs) {}

  void Forward(ConstTensorView input, const float* weights, const float* bias, TensorView output) override {
    for (int n = 0; n < input.batch; ++n)
      for (std::size_t o = 0; o < outputs_; ++o) {
        float sum = bias[o];
        for (std::size_t i = 0; i < inputs_; ++i) sum += weights[o * inputs_ + i] * input.sample(n)[i];
        output.sample(n)[o] = sum;
      }
  }

  void BackwardData(ConstTensorView output_gradient, const float* weights,
                    TensorView input_gradient) override {
    std::ranges::fill(input_gradient.values(), 0.0f);
    for (int n = 0; n < output_gradient.batch; ++n)
      for (std::size_t o = 0; o < outputs_; ++o)
        for (std::size_t i = 0; i < inputs_; ++i)
          input_gradient.sample(n)[i] += weights[o * inputs_ + i] * output_gradient.sample(n)[o];
  }

  void BackwardWeights(ConstTensorView input, ConstTensorView output_gradient, float* weight_gradient,
                       float* bias_gradient) override {
    std::fill_n(weight_gradient, outputs_ * inputs_, 0.0f);
    std::fill_n(bias_gradient, outputs_, 0.0f);
    for (int n = 0; n < input.batch; ++n)
      for (std::size_t o = 0; o < outputs_; ++o) {
        const float gradient = output_gradient.sample(n)[o];
        bias_gradient[o] += gradient;
        for (std::size_t i = 0; i < inputs_; ++i)
          weight_gradient[o * inputs_ + i] += gradient * input.sample(n)[i];
      }
  }

 private:
  const std::size_t inputs_;
  const std::size_t outputs_;
};

}  // namespace

std::unique_ptr<InnerProduct> MakeInnerProduct(const InnerProductSpec& spec) {
  return std::make_unique<ReferenceInnerProduct>(spec);
}

}  // namespace downpour::kernels::reference
