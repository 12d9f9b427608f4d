#include "kernels/layer_norm.h"

#include <algorithm>
#include <cmath>

#include "kernels/reference/device.h"

namespace downpour::kernels::reference {
namespace {

class ReferenceLayerNorm final : public LayerNorm {
 public:
  explicit ReferenceLayerNorm(const LayerNormSpec& spec) : spec_(spec) {}

  void Forward(ConstTensorView input, const float* weight, const float* bias, TensorView output) override {
    for (std::size_t first = 0; first < input.size(); first += spec_.length) {
      const Moments moments = MomentsOf(input.data + first);
      for (std::size_t i = 0; i < spec_.length; ++i) {
        output.data[first + i] = static_cast<float>(weight[i] * moments.Normal(input.data[first + i]) + bias[i]);
      }
    }
  }

  void BackwardWeights(ConstTensorView input, ConstTensorView output_gradient, float* weight_gradient,
                       float* bias_gradient) override {
    std::fill_n(weight_gradient, spec_.length, 0.0f);
    std::fill_n(bias_gradient, spec_.length, 0.0f);
    for (std::size_t first = 0; first < input.size(); first += spec_.length) {
      const Moments moments = MomentsOf(input.data + first);
      for (std::size_t i = 0; i < spec_.length; ++i) {
        const float dy = output_gradient.data[first + i];
        weight_gradient[i] += static_cast<float>(dy * moments.Normal(input.data[first + i]));
        bias_gradient[i] += dy;
      }
    }
  }

  void BackwardData(ConstTensorView input, const float* weight, ConstTensorView output_gradient,
                    TensorView input_gradient) override {
    for (std::size_t first = 0; first < input.size(); first += spec_.length) {
      const Moments moments = MomentsOf(input.data + first);
      const auto slope = [&](std::size_t i) -> double { return weight[i] * output_gradient.data[first + i]; };
      const auto normal = [&](std::size_t i) { return moments.Normal(input.data[first + i]); };
      double sum = 0, dot = 0;
      for (std::size_t i = 0; i < spec_.length; ++i) {
        sum += slope(i);
        dot += slope(i) * normal(i);
      }
      const auto count = static_cast<double>(spec_.length);
      for (std::size_t i = 0; i < spec_.length; ++i) {
        input_gradient.data[first + i] =
            static_cast<float>((slope(i) - sum / count - normal(i) * dot / count) / moments.deviation);
      }
    }
  }

 private:
  struct Moments {
    double mean, deviation;
    double Normal(float x) const { return (x - mean) / deviation; }
  };
  Moments MomentsOf(const float* values) const {
    const auto count = static_cast<double>(spec_.length);
    double sum = 0, squares = 0;
    for (std::size_t i = 0; i < spec_.length; ++i) sum += values[i];
    const double mean = sum / count;
    for (std::size_t i = 0; i < spec_.length; ++i) squares += (values[i] - mean) * (values[i] - mean);
    return {mean, std::sqrt(squares / count + spec_.epsilon)};
  }

  const LayerNormSpec spec_;
};

}  // namespace

std::unique_ptr<LayerNorm> MakeLayerNorm(const LayerNormSpec& spec) {
  return std::make_unique<ReferenceLayerNorm>(spec);
}

}  // namespace downpour::kernels::reference
