#include "kernels/activation.h"

#include <cmath>
#include <numbers>

#include "kernels/reference/device.h"

namespace downpour::kernels::reference {
namespace {

double NormalCdf(double x) { return 0.5 * std::erfc(-x / std::numbers::sqrt2); }
double NormalDensity(double x) { return std::exp(-0.5 * x * x) * std::numbers::inv_sqrtpi / std::numbers::sqrt2; }
double Sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

class ReferenceActivation final : public Activation {
 public:
  explicit ReferenceActivation(const ActivationSpec& spec) : spec_(spec) {}

  void Forward(ConstTensorView input, TensorView output) override {
    for (std::size_t i = 0; i < input.size(); ++i) output.data[i] = static_cast<float>(Value(input.data[i]));
  }

  void Backward(ConstTensorView input, ConstTensorView, ConstTensorView output_gradient,
                TensorView input_gradient) override {
    for (std::size_t i = 0; i < input.size(); ++i) {
      input_gradient.data[i] = static_cast<float>(output_gradient.data[i] * Slope(input.data[i]));
    }
  }

 private:
  double Value(double x) const {
    switch (spec_.function) {
      case ActivationSpec::Function::kLeakyRelu: return x > 0 ? x : spec_.slope * x;
      case ActivationSpec::Function::kElu: return x > 0 ? x : spec_.slope * std::expm1(x);
      case ActivationSpec::Function::kGelu: return x * NormalCdf(x);
      case ActivationSpec::Function::kSigmoid: return Sigmoid(x);
      case ActivationSpec::Function::kTanh: return std::tanh(x);
    }
    return x;
  }

  double Slope(double x) const {
    switch (spec_.function) {
      case ActivationSpec::Function::kLeakyRelu: return x > 0 ? 1 : spec_.slope;
      case ActivationSpec::Function::kElu: return x > 0 ? 1 : spec_.slope * std::exp(x);
      case ActivationSpec::Function::kGelu: return NormalCdf(x) + x * NormalDensity(x);
      case ActivationSpec::Function::kSigmoid: return Sigmoid(x) * Sigmoid(-x);
      case ActivationSpec::Function::kTanh: return 1 - std::tanh(x) * std::tanh(x);
    }
    return 1;
  }

  const ActivationSpec spec_;
};

}  // namespace

std::unique_ptr<Activation> MakeActivation(const ActivationSpec& spec) {
  return std::make_unique<ReferenceActivation>(spec);
}

}  // namespace downpour::kernels::reference
